"""The rows a run replays so that teaching one thing does not undo others: the old skills of the model.

A base that brings `replay.jsonl` (ember does) is trained on those rows. Any other model is asked: its own
greedy answers to a list of general prompts are the rows, none of which the gate asks. They are those of the
run's parent, because that is what must stay, corrections included. An answer that does not end within
`MAX_TOKENS` is left out: cut short, it would teach the model to stop in the middle.

The questions are put one at a time in a fixed order, so that the same model gives the same rows however busy
the machine is. The answers are cached by the model's hash; when that is done halfway (a kill), all is
asked again. Costs one load of the model and, on one core, some seconds for a model of a million weights, minutes
for one of a billion; once for each parent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from homefire.errors import EngineError
from homefire.trainer.contract import TrainingRow
from homefire.training.answers import AnswerCollector
from homefire.training.datasets import has_replay, read_replay
from homefire.training.preparation import Parents
from homefire.types import Message
from homefire.versions.evidence import Probe, ProbeAnswer
from homefire.versions.general_prompts import REPLAY_PROMPTS

if TYPE_CHECKING:
    from homefire.catalog.models import ModelInfo

MAX_TOKENS = 96
MAX_FAILED_SHARE = 0.5
"""Where more of the questions than this failed, it is the engine that failed, and it is tried again later."""
OnAsked = Callable[[int, int], None]
"""Called with (answered, to be answered)."""


class ReplaySource:
    def __init__(self, answers: AnswerCollector) -> None:
        self._answers = answers

    async def rows(self, parents: Parents, *, on_asked: OnAsked) -> Sequence[TrainingRow]:
        """The rows to replay. Raises EngineError, BadModel, CorruptData where the parent cannot be asked."""
        if has_replay(parents.base.folder):
            return await asyncio.to_thread(read_replay, parents.base.folder)
        return await self._own_answers(parents.parent, on_asked)

    async def _own_answers(self, model: ModelInfo, on_asked: OnAsked) -> list[TrainingRow]:
        probes = replay_probes()
        num_answered = 0

        def count(num: int) -> None:
            nonlocal num_answered
            num_answered += num
            on_asked(num_answered, len(probes))

        answers = await self._answers.answers(
            model, probes, max_tokens=MAX_TOKENS, num_parallel=1, on_answered=count
        )
        failed = [answer.error for answer in answers.values() if answer.error is not None]
        if len(failed) > MAX_FAILED_SHARE * len(probes):
            raise EngineError(
                f"{model.name} could not be asked what it answers now: {failed[0]}", name=model.name
            )
        return rows_of(probes, answers)


def replay_probes() -> tuple[Probe, ...]:
    """The questions whose answers are replayed, in the order in which they are asked."""
    return tuple(
        Probe(
            probe_id=f"replay-{number:02d}",
            group="protected",
            skill=skill,
            messages=(Message("user", prompt),),
        )
        for number, (skill, prompt) in enumerate(REPLAY_PROMPTS, start=1)
    )


def rows_of(probes: Sequence[Probe], answers: dict[str, ProbeAnswer]) -> list[TrainingRow]:
    """Question and answer, where the answer is one and ended by itself."""
    return [
        TrainingRow(messages=(*probe.messages, Message("assistant", answer.text.strip())))
        for probe in probes
        if (answer := answers[probe.probe_id]).stop_reason == "stop" and answer.text.strip()
    ]
