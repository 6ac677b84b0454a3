"""An engine without a model: canned answers, in this process, at once.

For tests of everything above the engines and for measuring the gateway alone. It keeps the whole contract
of `homefire.engines.base.Engine` (stop strings, limits, overflow with exact numbers, cancellation, typed
errors), so what passes against it meets the same rules as with llama.cpp. A token is a word with the spaces
before it.

    engine = ScriptedEngine(answer="Hello there.")                 # always this answer
    engine = ScriptedEngine(answer=lambda request: "…")            # computed from the request
    engine = ScriptedEngine(gate=asyncio.Event())                  # each delta waits for the gate
    engine = ScriptedEngine(fail_with=EngineCrashed("…"), fail_after=2)   # two deltas, then the error
    engine = ScriptedEngine(load_fails_with=BadModel("…"))
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from typing import get_args

from homefire.engines.base import (
    Capability,
    Delta,
    Embeddings,
    EngineRequest,
    EngineStatus,
    Finish,
    Generated,
    ModelSpec,
    TokenLogprob,
    UrlSource,
)
from homefire.errors import ContextOverflow, EngineCrashed, HomefireError
from homefire.types import Message, StopReason, Timings, Usage

ALL_CAPABILITIES: frozenset[Capability] = frozenset(get_args(Capability))
NUM_EMBEDDING_DIMENSIONS = 8
_TOKEN = re.compile(r"\s*\S+|\s+$")


def scripted_spec(name: str = "scripted", *, context_length: int = 1024, num_parallel: int = 4) -> ModelSpec:
    """A model that names nothing on disk."""
    digest = hashlib.sha256(name.encode()).hexdigest()
    return ModelSpec(
        name=name,
        digest=f"sha256:{digest}",
        engine="scripted",
        source=UrlSource("https://nowhere.example", digest),
        context_length=context_length,
        num_parallel=num_parallel,
    )


def split_tokens(text: str) -> list[str]:
    """Words with the spaces before them; joined they give the text back."""
    return _TOKEN.findall(text)


def _read(message: Message) -> str:
    """What the engine sees of a message: its text, or all that its parts hold."""
    if isinstance(message.content, str):
        return message.content
    return " ".join(str(part) for part in message.parts)


class ScriptedEngine:
    """An engine that answers as told. `requests`, `num_loads`, `num_cancelled` and `num_active` tell what happened."""

    capabilities: frozenset[Capability] = ALL_CAPABILITIES - {"json_schema", "grammar", "adapters", "sleep"}

    def __init__(
        self,
        spec: ModelSpec | None = None,
        *,
        answer: str | Callable[[EngineRequest], str] = "Hello there, I am scripted.",
        delay_s: float = 0.0,
        gate: asyncio.Event | None = None,
        load_gate: asyncio.Event | None = None,
        fail_with: HomefireError | None = None,
        fail_after: int = 0,
        load_fails_with: HomefireError | None = None,
        load_ms: float = 0.0,
        num_bytes: int = 1 << 20,
        can_sleep: bool = False,
    ) -> None:
        self.spec = spec or scripted_spec()
        self.answer, self.delay_s, self.gate, self.load_gate = answer, delay_s, gate, load_gate
        self.fail_with, self.fail_after, self.load_fails_with = fail_with, fail_after, load_fails_with
        self.load_ms, self.num_bytes = load_ms, num_bytes
        if can_sleep:
            self.capabilities = self.capabilities | {"sleep"}
        self.asleep = False
        self.requests: list[EngineRequest] = []
        self.num_loads = self.num_cancelled = self.num_active = self.num_stops = 0
        self.num_sleeps = self.num_wakes = 0
        self._ready = False
        self._stopped = asyncio.Event()
        self._loading = asyncio.Lock()

    @property
    def context_length(self) -> int:
        """As the spec asks."""
        return self.spec.context_length

    async def estimate(self) -> int:
        """`num_bytes`."""
        return self.num_bytes

    async def ensure_ready(self) -> None:
        """Counts one load, however many callers wait for it."""
        async with self._loading:
            if self._ready:
                return
            if self.load_gate is not None:
                await self.load_gate.wait()
            if self.load_fails_with is not None:
                raise self.load_fails_with
            self.num_loads += 1
            self._ready = True
            self._stopped.clear()

    async def sleep(self) -> None:
        """Counted; a request before `wake` is an error of the caller."""
        assert "sleep" in self.capabilities
        self.num_sleeps += 1
        self.asleep = True

    async def wake(self) -> None:
        """Counted."""
        assert "sleep" in self.capabilities
        self.num_wakes += 1
        self.asleep = False

    async def generate(self, request: EngineRequest) -> AsyncIterator[Generated]:
        """One delta for each token of the scripted answer, then the finish."""
        await self.ensure_ready()
        assert not self.asleep, "asked while asleep"
        prompt_tokens = await self.count_tokens(request.messages, prompt=request.prompt)
        self._check_length(prompt_tokens, max_tokens=request.sampling.max_tokens)
        self.requests.append(request)
        self.num_active += 1
        finished = False
        try:
            async with aclosing(self._answer(request, prompt_tokens)) as items:
                async for item in items:
                    finished = isinstance(item, Finish)
                    yield item
        except HomefireError:
            finished = True
            raise
        finally:
            self.num_active -= 1
            self.num_cancelled += not finished

    def _check_length(self, num_tokens: int, *, max_tokens: int | None) -> None:
        if num_tokens >= self.context_length:
            raise ContextOverflow(
                f"The prompt has {num_tokens} tokens; {self.spec.name} holds {self.context_length}.",
                hint="Shorten the conversation.",
                prompt_tokens=num_tokens,
                limit=self.context_length,
                max_tokens=max_tokens,
            )

    async def _answer(self, request: EngineRequest, prompt_tokens: int) -> AsyncGenerator[Generated, None]:
        text = self.answer if isinstance(self.answer, str) else self.answer(request)
        text, stop_string = self.cut_at_stop(text, request.sampling.stop)
        tokens = split_tokens(text)
        room = self.spec.context_length - prompt_tokens
        budget = room if request.sampling.max_tokens is None else min(room, request.sampling.max_tokens)
        reason: StopReason = "stop"
        if len(tokens) > budget:
            reason = "context" if budget == room else "length"
        tokens = tokens[:budget]
        for index, token in enumerate(tokens):
            if self.fail_with is not None and index >= self.fail_after:
                raise self.fail_with
            await self._pause()
            yield Delta(token, self._logprobs(token, request.sampling.num_logprobs))
        if self.fail_with is not None:
            raise self.fail_with
        yield Finish(
            stop_reason=reason,
            usage=Usage(prompt_tokens=prompt_tokens, completion_tokens=len(tokens)),
            timings=Timings(load_ms=0.0, prompt_ms=0.0, decode_ms=0.0, first_token_ms=0.0),
            stop_string=stop_string if reason == "stop" else None,
        )

    def cut_at_stop(self, text: str, stops: Sequence[str]) -> tuple[str, str | None]:
        """The text before the earliest stop string, and that string."""
        hits = [(text.index(stop), stop) for stop in stops if stop in text]
        if not hits:
            return text, None
        position, stop = min(hits)
        return text[:position], stop

    async def count_tokens(self, messages: Sequence[Message], *, prompt: str | None = None) -> int:
        """Words, one more for each message's role and one for the answer's."""
        if prompt is not None:
            return len(split_tokens(prompt))
        return 1 + sum(1 + len(split_tokens(_read(message))) for message in messages)

    async def embed(self, texts: Sequence[str]) -> Embeddings:
        """Unit vectors from hashes: equal texts, equal vectors."""
        await self.ensure_ready()
        vectors = []
        for text in texts:
            self._check_length(len(split_tokens(text)), max_tokens=None)
            raw = [byte - 127.5 for byte in hashlib.sha256(text.encode()).digest()[:NUM_EMBEDDING_DIMENSIONS]]
            length = math.sqrt(sum(value * value for value in raw))
            vectors.append(tuple(value / length for value in raw))
        num_tokens = sum(len(split_tokens(text)) for text in texts)
        return Embeddings(tuple(vectors), Usage(prompt_tokens=num_tokens, completion_tokens=0))

    def status(self) -> EngineStatus:
        """Ready after the first load, stopped after `stop`."""
        return EngineStatus(
            state="ready" if self._ready else "stopped", load_ms=self.load_ms, num_active=self.num_active
        )

    async def stop(self) -> None:
        """Ends running requests with EngineCrashed."""
        self.num_stops += 1
        self._ready = False
        self._stopped.set()

    async def _pause(self) -> None:
        if self._stopped.is_set():
            raise EngineCrashed(f"The engine of {self.spec.name} was stopped.")
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        if self.gate is not None and not self.gate.is_set():
            opened, stopped = (
                asyncio.ensure_future(self.gate.wait()),
                asyncio.ensure_future(self._stopped.wait()),
            )
            try:
                await asyncio.wait((opened, stopped), return_when=asyncio.FIRST_COMPLETED)
            finally:
                opened.cancel()
                stopped.cancel()
            if self._stopped.is_set():
                raise EngineCrashed(f"The engine of {self.spec.name} was stopped.")

    @staticmethod
    def _logprobs(token: str, num_logprobs: int | None) -> tuple[TokenLogprob, ...]:
        if num_logprobs is None:
            return ()
        rivals = ((token, 0.0), *((f" rival{index}", -9.0 - index) for index in range(1, num_logprobs)))
        return (TokenLogprob(token, 0.0, rivals[:num_logprobs]),)
