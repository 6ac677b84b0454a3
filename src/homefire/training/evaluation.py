"""Collecting what the gate needs to know, and the verdict with each correction's result.

The parent (and the base where it is another model) answers what is not in the cache of answers yet; then the
candidate is asked, stage by stage on one niced engine, and no more as soon as it is certain that it is held back and
why. How many questions there are is bounded whatever was ever taught (`probes.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from homefire.config.schema import GateSettings
from homefire.errors import EngineError, HomefireError
from homefire.machine.memory import available_bytes
from homefire.store.nouns.examples import ExampleRow
from homefire.training.answers import AnswerCollector, MakeEngine
from homefire.training.preparation import Parents
from homefire.versions.asking import AnswerCache, OnAnswer
from homefire.versions.assembly import WEIGHT_SUFFIX, folder_files
from homefire.versions.blame import CorrectionResult, results_of
from homefire.versions.evidence import GateInput, Limits, Probe, ProbeAnswer
from homefire.versions.gate import Verdict, judge
from homefire.versions.probes import build_probes, load_probes, stages
from homefire.versions.weight_file import non_finite_tensors, read_weight_file

if TYPE_CHECKING:
    from homefire.catalog.catalog import Catalog
    from homefire.catalog.models import ModelInfo


_ROOM_FACTOR = 4
_ROOM_BYTES = 1 << 30


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """A verdict, and what each new correction came to."""

    verdict: Verdict
    results: dict[str, CorrectionResult]


class GateEvaluator:
    def __init__(
        self, *, catalog: Catalog, make_engine: MakeEngine, settings: GateSettings, cache: AnswerCache
    ) -> None:
        self._catalog, self._settings = catalog, settings
        self._collector = AnswerCollector(catalog=catalog, make_engine=make_engine, cache=cache)

    async def judge(
        self,
        candidate: ModelInfo,
        parents: Parents,
        *,
        targets: Sequence[ExampleRow],
        earlier: Sequence[ExampleRow],
        num_steps: int | None = None,
        seed: str = "",
        on_answer: OnAnswer | None = None,
    ) -> Judgement:
        """The verdict on a version. A candidate that is not a model that can be loaded has failed.

        `num_steps`: how long it was trained, for the sentences. `seed` draws the sample that is asked; `ask_parents`
        draws the same. Raises what loading or asking the parent raises, and EngineError where it is not the candidate's
        files that keep it from being loaded: then nothing is known about it.
        """
        probes = _probes(parents, targets=targets, earlier=earlier, seed=seed)
        given = await self._collect(candidate, parents, probes, on_answer=on_answer)
        verdict = judge(given)
        return Judgement(verdict=verdict, results=results_of(given, verdict, num_steps=num_steps))

    async def _collect(
        self,
        candidate: ModelInfo,
        parents: Parents,
        probes: tuple[Probe, ...],
        *,
        on_answer: OnAnswer | None,
    ) -> GateInput:
        given = GateInput(probes=probes, candidate={}, parent={}, limits=self._limits())
        broken = await self._look_at(candidate, parents.parent)
        if broken is not None:
            return msgspec.structs.replace(broken, probes=probes, limits=given.limits)
        old, beside = _of_parents(probes)
        has_base = parents.base.name != parents.parent.name
        count = _Counter(len(probes) + len(old) + len(beside) + (len(old) if has_base else 0), on_answer)
        parent, base = await self._ask_parents(parents, probes, count)
        return await self._ask_candidate(
            candidate, msgspec.structs.replace(given, parent=parent, base=base), count
        )

    async def _ask_candidate(self, candidate: ModelInfo, given: GateInput, count: _Counter) -> GateInput:
        """Ask until everything is answered or it is certain that the version is held back."""
        unasked = {probe.probe_id for probe in given.probes}
        try:
            async with self._collector.asking(candidate, max_tokens=self._settings.max_eval_tokens) as ask:
                for stage in stages(given.probes):
                    answers = await ask(stage, on_answered=count.add)
                    unasked -= answers.keys()
                    given = msgspec.structs.replace(
                        given, candidate={**given.candidate, **answers}, unasked=frozenset(unasked)
                    )
                    if _is_settled(given):
                        break
        except EngineError:
            raise  # a killed converter, a lack of memory: nothing is known about the candidate
        except HomefireError as problem:
            return msgspec.structs.replace(given, obstacle=problem.message)
        count.finish()
        return given

    def _limits(self) -> Limits:
        return Limits(
            min_generality=self._settings.min_generality,
            min_locality=self._settings.min_locality,
            min_protected_ratio=self._settings.min_protected_ratio,
        )

    async def ask_parents(
        self, parents: Parents, *, targets: Sequence[ExampleRow], earlier: Sequence[ExampleRow], seed: str
    ) -> None:
        """Have the answers of parent and base in the cache, so that `judge` asks the candidate alone.

        Where memory is too short for another engine beside a trainer, nothing is asked.
        """
        sizes = {model.digest: model.size_bytes for model in (parents.parent, parents.base)}
        if available_bytes() < _ROOM_FACTOR * max(sizes.values()) + _ROOM_BYTES:
            return
        probes = _probes(parents, targets=targets, earlier=earlier, seed=seed)
        await self._ask_parents(parents, probes, _Counter(0, None))

    async def _ask_parents(
        self, parents: Parents, probes: Sequence[Probe], count: _Counter
    ) -> tuple[dict[str, ProbeAnswer], dict[str, ProbeAnswer] | None]:
        """The answers of the parent, and of its base where that is another model."""
        old, beside = _of_parents(probes)
        if parents.base.name == parents.parent.name:
            return await self._answers(parents.parent, [*old, *beside], count), None
        parent = await self._answers(parents.parent, old, count)
        return parent, await self._answers(parents.base, [*old, *beside], count)

    async def _look_at(self, candidate: ModelInfo, parent: ModelInfo) -> GateInput | None:
        """What is wrong before anything is asked: weights that are not numbers, another chat format."""
        try:
            broken = await asyncio.to_thread(_non_finite, candidate.folder)
            now = (await self._catalog.chat_template(candidate)).fingerprint
            before = (await self._catalog.chat_template(parent)).fingerprint
        except HomefireError as problem:
            return GateInput(probes=(), candidate={}, parent={}, obstacle=problem.message)
        if not broken and now == before:
            return None
        return GateInput(
            probes=(), candidate={}, parent={}, non_finite=broken, candidate_format=now, parent_format=before
        )

    async def _answers(
        self, model: ModelInfo, probes: Sequence[Probe], count: _Counter
    ) -> dict[str, ProbeAnswer]:
        max_tokens = self._settings.max_eval_tokens
        return await self._collector.answers(model, probes, max_tokens=max_tokens, on_answered=count.add)


def _probes(
    parents: Parents, *, targets: Sequence[ExampleRow], earlier: Sequence[ExampleRow], seed: str
) -> tuple[Probe, ...]:
    return build_probes(targets, earlier=earlier, protected=load_probes(parents.base.folder), seed=seed)


def _of_parents(probes: Sequence[Probe]) -> tuple[list[Probe], list[Probe]]:
    """What parent and base are asked: of old knowledge, and what is close to the new corrections."""
    old = [probe for probe in probes if probe.group in ("protected", "earlier")]
    return old, [probe for probe in probes if probe.group == "neighbour"]


def _is_settled(given: GateInput) -> bool:
    """Whether the version is held back whatever else is asked, and more would not tell who is to blame."""
    verdict = judge(given)
    if verdict.passed:
        return False
    results = results_of(given, verdict)
    causes = {result.cause for result in results.values()} - {None, "not_learned"}
    return len(results) <= 1 or not verdict.learned or bool(causes)


class _Counter:
    """Questions answered so far, by whichever model."""

    def __init__(self, num_all: int, on_answer: OnAnswer | None) -> None:
        self._num_all, self._num, self._on_answer = num_all, 0, on_answer

    def add(self, num: int) -> None:
        self._num += num
        self._show()

    def finish(self) -> None:
        """No more is asked."""
        self._num = self._num_all
        self._show()

    def _show(self) -> None:
        if self._on_answer is not None:
            self._on_answer(self._num, self._num_all)


def _non_finite(folder: Path) -> tuple[str, ...]:
    return tuple(
        name
        for relative, path in folder_files(folder)
        if relative.endswith(WEIGHT_SUFFIX)
        for name in non_finite_tensors(read_weight_file(path))
    )
