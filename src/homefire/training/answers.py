"""Answers of a model to many questions, collected on a niced engine of its own and cached.

No chat waits for it; the engine is loaded for the first question that is not in the cache and stopped when the last
answer is in. What a model answers is cached by the hash of its weights, so it is asked each question once.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Protocol

from homefire.engines.base import Engine, ModelSpec
from homefire.versions.asking import AnswerCache, ask
from homefire.versions.evidence import Probe, ProbeAnswer

if TYPE_CHECKING:
    from homefire.catalog.catalog import Catalog
    from homefire.catalog.models import ModelInfo

NICE = 19
MakeEngine = Callable[[ModelSpec], Engine]
OnAnswered = Callable[[int], None]
"""Called with the number of answers that are new."""


class Ask(Protocol):
    """Asks one model; as often as wanted, all on one engine."""

    async def __call__(
        self, probes: Sequence[Probe], *, on_answered: OnAnswered = ...
    ) -> dict[str, ProbeAnswer]: ...


class AnswerCollector:
    def __init__(self, *, catalog: Catalog, make_engine: MakeEngine, cache: AnswerCache) -> None:
        self._catalog, self._make_engine, self._cache = catalog, make_engine, cache

    async def answers(
        self,
        model: ModelInfo,
        probes: Sequence[Probe],
        *,
        max_tokens: int,
        num_parallel: int | None = None,
        on_answered: OnAnswered = lambda _num: None,
    ) -> dict[str, ProbeAnswer]:
        """The model's greedy answers by probe id, from the cache where it gave them before.

        `num_parallel` questions are asked at a time (None: as many as the engine takes). Raises what making
        and loading the model raises; a question that failed is an answer with `error`.
        """
        async with self.asking(model, max_tokens=max_tokens, num_parallel=num_parallel) as ask_model:
            return await ask_model(probes, on_answered=on_answered)

    @asynccontextmanager
    async def asking(
        self, model: ModelInfo, *, max_tokens: int, num_parallel: int | None = None
    ) -> AsyncIterator[Ask]:
        """The same in several goes, on one engine. Raises, there and here, as `answers` does."""
        spec = await self._catalog.spec(model, nice=NICE)
        engine: Engine | None = None

        async def ask_model(
            probes: Sequence[Probe], *, on_answered: OnAnswered = lambda _num: None
        ) -> dict[str, ProbeAnswer]:
            nonlocal engine
            known = await asyncio.to_thread(self._cache.known, spec, probes, max_tokens=max_tokens)
            missing = [probe for probe in probes if probe.probe_id not in known]
            on_answered(len(known))
            if not missing:
                return known
            if engine is None:
                engine = self._make_engine(spec)
                await engine.ensure_ready()
            fresh = await ask(
                engine,
                missing,
                max_tokens=max_tokens,
                num_parallel=num_parallel or spec.num_parallel,
                on_answer=lambda _answered, _all: on_answered(1),
            )
            await asyncio.to_thread(self._cache.keep, spec, missing, fresh, max_tokens=max_tokens)
            return {**known, **fresh}

        try:
            yield ask_model
        finally:
            if engine is not None:
                await asyncio.shield(engine.stop())
