"""Whether a model can be taught here, said before anything is taught: format, memory, template, and what it answers.

A handful of general questions is asked, greedily and with short answers, on an engine of its own. A model whose answers
do not end, repeat one piece, or are the same for most questions was probably never trained, or is asked in another form
than it was trained in: it is served anyway, with a warning. The heuristics and their limits are those of
`versions/degenerate.py`. What is said of memory is an estimate from the number of parameters, no promise.

Costs one load of the model and `NUM_ASKED` short answers, at most `TIMEOUT_S`; answers are cached by the weights.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from homefire.errors import HomefireError
from homefire.machine.memory import available_bytes
from homefire.trainer.recipe import FULL_MAX_PARAMETERS
from homefire.training.answers import AnswerCollector
from homefire.versions.degenerate import has_collapsed, is_degenerate
from homefire.versions.evidence import Probe, ProbeAnswer
from homefire.versions.probes import general_probes

if TYPE_CHECKING:
    from homefire.catalog.catalog import Catalog
    from homefire.catalog.models import ModelInfo

NUM_ASKED = 8
MAX_TOKENS = 48
TIMEOUT_S = 60.0
FULL_BYTES_PER_PARAMETER = 24
"""Weights, gradient, two moments, and the parent twice, in float32."""
ADAPTER_SHARE = 1.2
"""An adapter's training holds the weights as they are stored, and a fifth for what it computes."""
FIXED_BYTES = 600 << 20
"""The libraries and the rows."""


class Fitness(msgspec.Struct, frozen=True, kw_only=True):
    """What was found. `warnings` are sentences; a model with some is served anyway."""

    name: str
    teachable: bool
    why_not: str | None
    warnings: tuple[str, ...]
    num_asked: int = 0
    num_right: int = 0
    """Of the questions with a known answer, as many as it answered right."""


class FitnessCheck:
    """Looks at models. One for each server."""

    def __init__(self, *, catalog: Catalog, answers: AnswerCollector) -> None:
        self._catalog, self._answers = catalog, answers

    async def look_at(self, model: ModelInfo) -> Fitness:
        """What can be said of this model now. Raises nothing that the model is to blame for."""
        why_not = model.why_not_trainable
        warnings: list[str] = []
        if why_not is None:
            warnings += _memory(model)
            why_not = await self._template(model)
        found: Sequence[tuple[Probe, ProbeAnswer]] = ()
        try:
            async with asyncio.timeout(TIMEOUT_S):
                found = await self._ask(model)
            warnings += judge_answers([answer for _, answer in found])
        except TimeoutError:
            warnings.append(
                f"It did not answer {NUM_ASKED} short questions in {TIMEOUT_S:.0f} s: it is slow here."
            )
        except HomefireError as problem:
            warnings.append(f"It could not be asked anything: {problem.message}")
        return Fitness(
            name=model.name,
            teachable=why_not is None,
            why_not=why_not,
            warnings=tuple(warnings),
            num_asked=len(found),
            num_right=sum(probe.is_met_by(answer) for probe, answer in found),
        )

    async def _ask(self, model: ModelInfo) -> list[tuple[Probe, ProbeAnswer]]:
        known = [probe for probe in general_probes() if probe.accepts]
        probes = known[:: max(1, len(known) // NUM_ASKED)][:NUM_ASKED]
        answers = await self._answers.answers(model, probes, max_tokens=MAX_TOKENS)
        return [(probe, answers[probe.probe_id]) for probe in probes]

    async def _template(self, model: ModelInfo) -> str | None:
        """Why nothing could be learned through the model's chat template; None where it can."""
        try:
            return await self._catalog.why_not_teachable(model)
        except HomefireError as problem:
            return problem.message


def judge_answers(answers: Sequence[ProbeAnswer]) -> list[str]:
    """What is wrong with a model that answers different questions so. At most one warning, the plainest."""
    failed = [answer.error for answer in answers if answer.error is not None]
    whole = [answer.text for answer in answers if answer.has_ended]
    if len(failed) > len(answers) / 2:
        return [f"It could not be asked most questions: {failed[0]}"]
    advice = "It may never have been trained, or its chat template is not the one it was trained with."
    broken = [answer for answer in answers if is_degenerate(answer.text) or not answer.text.strip()]
    if len(broken) > len(answers) / 2:
        return [
            f"{len(broken)} of {len(answers)} of its answers are empty or one piece over and over. {advice}"
        ]
    if has_collapsed([answer.text for answer in answers]):
        return [f"It gives the same answers to different questions. {advice}"]
    if len(whole) < len(answers) / 2:
        return [
            f"{len(answers) - len(whole)} of {len(answers)} of its answers to short questions do not end within "
            f"{MAX_TOKENS} tokens. {advice}"
        ]
    return []


def _memory(model: ModelInfo) -> list[str]:
    is_full = model.num_parameters <= FULL_MAX_PARAMETERS
    needed = FULL_BYTES_PER_PARAMETER * model.num_parameters if is_full else ADAPTER_SHARE * model.size_bytes
    needed, free = needed + FIXED_BYTES, available_bytes()
    if needed <= free:
        return []
    return [
        f"Teaching it needs about {needed / 2**30:.1f} GiB of memory; {free / 2**30:.1f} GiB are free now."
    ]
