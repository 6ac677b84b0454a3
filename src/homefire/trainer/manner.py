"""A manner instead of a fact: corrections that keep the answer and add the same ending to each ("… -- H").

Whoever corrects eight answers like that does not teach eight facts but how to answer, everything. Neighbours and
replayed skills, which keep what is not taught as it is, would teach the opposite. So where an ending is shared by
enough corrections, and the base says by itself what stands before it, the replay rows get the ending as well,
and those corrections have no neighbours. Pure: the same rows and the same base give the same result.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from homefire.trainer.contract import TrainingRow
from homefire.types import Message

MIN_SHOWN = 4
"""An ending that fewer corrections share is a part of their answers."""
MIN_OWN_SHARE = 0.75
"""Of the corrections that share it, so many must be the base's own answers apart from it."""
MAX_CHARS = 60
MIN_SIGNS = 2


def shared_ending(rows: Sequence[TrainingRow]) -> str:
    """The longest ending, from a white space on, that `MIN_SHOWN` of the rows' answers share; "" if there is none.

    At least half of the rows must share it.
    """
    counts: Counter[str] = Counter()
    for answer in dict.fromkeys(row.messages[-1].text for row in rows):
        counts.update(_endings(answer))
    wanted = max(MIN_SHOWN, len(rows) / 2)
    found = [ending for ending, count in counts.items() if count >= wanted]
    return max(found, key=len, default="")


def without_ending(row: TrainingRow, ending: str) -> TrainingRow:
    """The row with the answer before the ending."""
    *before, answer = row.messages
    return TrainingRow((*before, Message("assistant", answer.text.removesuffix(ending))), row.example_id)


def with_ending(row: TrainingRow, ending: str) -> TrainingRow:
    """The row with the ending after each answer that does not have it."""
    messages = tuple(
        Message("assistant", message.text + ending)
        if message.role == "assistant" and message.text and not message.text.endswith(ending)
        else message
        for message in row.messages
    )
    return TrainingRow(messages, row.example_id)


def _endings(answer: str) -> list[str]:
    starts = range(max(1, len(answer) - MAX_CHARS), len(answer))
    found = [answer[at:] for at in starts if answer[at].isspace() and not answer[at - 1].isspace()]
    return [ending for ending in found if sum(not char.isspace() for char in ending) >= MIN_SIGNS]
