"""Asking a model probes, and remembering what it said.

Greedy, a few at a time, with the lead of each answer where the engine tells probabilities. What a model answers is
kept by the hash of its weights: it is asked each question once. Costs what the engine costs; the cache is one file
for each model, read and written whole.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path

import msgspec

from homefire.engines.base import (
    Delta,
    Engine,
    EngineRequest,
    Finish,
    Generated,
    ModelSpec,
    TokenLogprob,
)
from homefire.errors import ContextOverflow, EngineError, HomefireError
from homefire.types import Sampling
from homefire.versions.evidence import Probe, ProbeAnswer
from homefire.versions.manifest import canonical_json

NUM_ATTEMPTS = 2
"""An engine that crashed is asked once more; what it then fails counts as failed."""
OnAnswer = Callable[[int, int], None]
"""Called with (answered, to be answered)."""


async def ask(
    engine: Engine,
    probes: Sequence[Probe],
    *,
    max_tokens: int,
    num_parallel: int = 4,
    on_answer: OnAnswer | None = None,
) -> dict[str, ProbeAnswer]:
    """Every probe's answer by its id. Engine failures are answers with `error`, never exceptions."""
    answers: dict[str, ProbeAnswer] = {}
    waiting = iter(probes)

    async def worker() -> None:
        for probe in waiting:
            answers[probe.probe_id] = await _ask_one(engine, probe, max_tokens=max_tokens)
            if on_answer is not None:
                on_answer(len(answers), len(probes))

    async with asyncio.TaskGroup() as group:
        for _ in range(min(num_parallel, len(probes))):
            group.create_task(worker())
    return answers


class AnswerCache:
    """What models said before, one file for each model's weights. A cache: it may be deleted at any time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def known(self, spec: ModelSpec, probes: Iterable[Probe], *, max_tokens: int) -> dict[str, ProbeAnswer]:
        """Answers this model gave before to these probes, by probe id."""
        cache = self._load(spec)
        keys = {probe.probe_id: _answer_key(probe, max_tokens) for probe in probes}
        return {probe_id: cache[key] for probe_id, key in keys.items() if key in cache}

    def keep(
        self,
        spec: ModelSpec,
        probes: Iterable[Probe],
        answers: Mapping[str, ProbeAnswer],
        *,
        max_tokens: int,
    ) -> None:
        """Remember the answers that are some (failures are asked again)."""
        cache = self._load(spec)
        for probe in probes:
            answer = answers.get(probe.probe_id)
            if answer is not None and answer.error is None:
                cache[_answer_key(probe, max_tokens)] = answer
        body = canonical_json(cache)
        path = self._path(spec)
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_suffix(".new")
        aside.write_bytes(hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
        aside.replace(path)

    def forget(self, texts: Iterable[str]) -> None:
        """Delete what was kept of every model that said one of these texts, or something with one in it."""
        needles = [canonical_json(text)[1:-1] for text in texts]
        for path in self._folder.glob("*.json*") if needles else ():
            body = path.read_bytes()
            if any(needle in body for needle in needles):
                path.unlink(missing_ok=True)

    def _load(self, spec: ModelSpec) -> dict[str, ProbeAnswer]:
        """The cached answers; none where there is no file or its checksum does not match."""
        path = self._path(spec)
        if not path.exists():
            return {}
        checksum, _, body = path.read_bytes().partition(b"\n")
        if checksum.decode(errors="replace") != hashlib.sha256(body).hexdigest():
            return {}
        return msgspec.json.decode(body, type=dict[str, ProbeAnswer])

    def _path(self, spec: ModelSpec) -> Path:
        weights = spec.source.identity.encode()
        return self._folder / f"{hashlib.sha256(weights).hexdigest()[:32]}.json"


async def _ask_one(engine: Engine, probe: Probe, *, max_tokens: int) -> ProbeAnswer:
    budget = max(max_tokens, len((probe.answer or "").encode()) + 8)
    problem: HomefireError | None = None
    for _ in range(NUM_ATTEMPTS):
        try:
            return await _collect(engine, probe, max_tokens=budget)
        except ContextOverflow as overflow:
            limit, used = overflow.details.get("limit"), overflow.details.get("prompt_tokens")
            if not isinstance(limit, int) or not isinstance(used, int) or limit - used < 1:
                return ProbeAnswer(error=overflow.message)
            problem, budget = overflow, limit - used
        except EngineError as error:
            problem = error
    return ProbeAnswer(error=problem.message if problem is not None else "not asked")


async def _collect(engine: Engine, probe: Probe, *, max_tokens: int) -> ProbeAnswer:
    num_logprobs = 2 if "logprobs" in engine.capabilities else None
    request = EngineRequest(
        messages=probe.messages,
        sampling=Sampling(max_tokens=max_tokens, temperature=0.0, seed=0, num_logprobs=num_logprobs),
    )
    parts: list[str] = []
    lead: float | None = None
    stream: AsyncIterator[Generated] = engine.generate(request)
    async with aclosing(stream) as items:  # type: ignore[type-var]
        async for item in items:
            if isinstance(item, Delta):
                parts.append(item.text)
                leads = [lead, *map(_lead_of, item.logprobs)]
                lead = min((each for each in leads if each is not None), default=None)
            elif isinstance(item, Finish):
                return ProbeAnswer(text="".join(parts), stop_reason=item.stop_reason, lead=lead)
    return ProbeAnswer(error="the engine ended its answer without saying why")


def _lead_of(token: TokenLogprob) -> float | None:
    """By how much a token leads the next likely one."""
    likely = sorted((logprob for _, logprob in token.top), reverse=True)
    return likely[0] - likely[1] if len(likely) > 1 else None


def _answer_key(probe: Probe, max_tokens: int) -> str:
    budget = max(max_tokens, len((probe.answer or "").encode()) + 8)
    return hashlib.sha256(canonical_json([list(probe.messages), budget])).hexdigest()
