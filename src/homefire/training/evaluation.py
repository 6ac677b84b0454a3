"""Collecting what the gate needs to know: candidate, parent and base are asked the same questions.

Each is asked on a niced engine of its own (`answers.py`): the parent, and the base where it is another
model, only what is not in the cache of answers yet.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from homefire.config.schema import GateSettings
from homefire.errors import HomefireError
from homefire.store.nouns.examples import ExampleRow
from homefire.training.answers import AnswerCollector, MakeEngine
from homefire.training.preparation import Parents
from homefire.versions.assembly import WEIGHT_SUFFIX, folder_files
from homefire.versions.gate import GateInput, Limits, Probe, ProbeAnswer, Verdict, judge
from homefire.versions.probes import AnswerCache, OnAnswer, build_probes, load_probes
from homefire.versions.weight_file import non_finite_tensors, read_weight_file

if TYPE_CHECKING:
    from homefire.catalog.catalog import Catalog
    from homefire.catalog.models import ModelInfo


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
        on_answer: OnAnswer | None = None,
    ) -> Verdict:
        """The verdict on a version. A candidate that cannot be loaded or asked has failed, it raises nothing.

        Raises what loading or asking the parent raises: then nothing is known about the candidate.
        """
        probes = build_probes(targets, earlier=earlier, protected=load_probes(parents.base.folder))
        limits = Limits(
            min_target_score=self._settings.min_target_score,
            min_protected_ratio=self._settings.min_protected_ratio,
        )
        broken = await self._look_at(candidate, parents.parent)
        if broken is not None:
            return judge(msgspec.structs.replace(broken, probes=probes, limits=limits))
        protected = [probe for probe in probes if probe.group == "protected"]
        has_base = parents.base.name != parents.parent.name
        count = _Counter(2 * len(probes) + (len(protected) if has_base else 0), on_answer)
        parent = await self._answers(parents.parent, probes, count)
        base = await self._answers(parents.base, protected, count) if has_base else None
        given = GateInput(probes=probes, candidate={}, parent=parent, base=base, limits=limits)
        try:
            answers = await self._answers(candidate, probes, count)
        except HomefireError as problem:
            return judge(msgspec.structs.replace(given, obstacle=problem.message))
        return judge(msgspec.structs.replace(given, candidate=answers))

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


class _Counter:
    """Questions answered so far, by whichever model."""

    def __init__(self, num_all: int, on_answer: OnAnswer | None) -> None:
        self._num_all, self._num, self._on_answer = num_all, 0, on_answer

    def add(self, num: int) -> None:
        self._num += num
        if self._on_answer is not None:
            self._on_answer(self._num, self._num_all)


def _non_finite(folder: Path) -> tuple[str, ...]:
    return tuple(
        name
        for relative, path in folder_files(folder)
        if relative.endswith(WEIGHT_SUFFIX)
        for name in non_finite_tensors(read_weight_file(path))
    )
