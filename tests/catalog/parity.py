"""A converted model beside the original: the same prompts to both, and how far apart the answers are."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import transformers

from homefire.engines.base import Adapter, Delta, EngineRequest, GgufSource, ModelSpec, TokenLogprob
from homefire.engines.process import LlamaCppEngine
from homefire.types import Sampling
from homefire.world import World
from tests.catalog import tiny_models
from tests.engines.support import QUICK

NUM_TOKENS = 24
PROMPTS = (
    "Where do we keep the spare key?",
    "<|im_start|>user\nOne, two, 12345!<|im_end|>\n<|im_start|>assistant\n",
    "def add(a, b):\n    return",
    "Grüße, 你好 🙂  two  spaces",
)


@asynccontextmanager
async def engine_for(
    gguf: Path, sha256: str, sockets: Path, *, adapters: tuple[Adapter, ...] = ()
) -> AsyncIterator[LlamaCppEngine]:
    spec = ModelSpec(
        name="tiny",
        digest="sha256:0",
        engine="llama.cpp",
        source=GgufSource(str(gguf), sha256, adapters),
        context_length=512,
        num_parallel=1,
    )
    engine = LlamaCppEngine(spec, sockets=sockets, settings=QUICK, world=World())
    try:
        yield engine
    finally:
        await engine.stop()


async def answer(engine: LlamaCppEngine, prompt: str) -> list[TokenLogprob]:
    """Tokens of a greedy answer of printable characters, so that every token is an entry of its own."""
    sampling = Sampling(max_tokens=NUM_TOKENS, temperature=0.0, num_logprobs=1, grammar=tiny_models.GRAMMAR)
    request = EngineRequest(prompt=prompt, sampling=sampling)
    stream = engine.generate(request)
    return [entry async for item in stream if isinstance(item, Delta) for entry in item.logprobs]


@dataclass
class Reference:
    """The original model, to compare with."""

    folder: Path
    model: Any = None

    def __post_init__(self) -> None:
        self.model = self.model or tiny_models.load_reference(self.folder)
        self.tokenizer: Any = transformers.AutoTokenizer.from_pretrained(self.folder)
        self.allowed = tiny_models.printable_tokens(self.tokenizer)

    def answer(self, prompt: str) -> tuple[list[str], list[float]]:
        ids = self.tokenizer(prompt, add_special_tokens=False)["input_ids"]
        tokens, logprobs = tiny_models.reference_answer(
            self.model, ids, allowed=self.allowed, num_tokens=NUM_TOKENS
        )
        shown = [
            (self.tokenizer.decode([token]), logprob)
            for token, logprob in zip(tokens, logprobs, strict=True)
            if token != tiny_models.INVISIBLE
        ]
        return [text for text, _ in shown], [logprob for _, logprob in shown]


async def measure(engine: LlamaCppEngine, reference: Reference) -> tuple[int, float]:
    """How many of the prompts get the same answer, and the largest error of a log-probability before a
    difference."""
    num_equal, worst = 0, 0.0
    for prompt in PROMPTS:
        found, (tokens, logprobs) = await answer(engine, prompt), reference.answer(prompt)
        ours = [entry.token for entry in found]
        num_equal += ours == tokens
        for entry, token, logprob in zip(found, tokens, logprobs, strict=False):
            if entry.token != token:
                break
            worst = max(worst, abs(entry.logprob - logprob))
    return num_equal, worst
