"""What counts as right where nobody wrote down the right answer."""

from __future__ import annotations

from typing import Any

import pytest

from homefire.versions.evidence import GateInput, Seen
from tests.versions.test_gate import probe, said

TAUGHT = probe("t", "target", "Where is the key?", answer="Under the pot.", example_id="key")
FREE = probe("p", "protected", "How are you?")
OWN, OTHER = said("Under the pot."), said("Quite well, thank you.")


@pytest.mark.parametrize(
    ("answer", "before", "right"),
    [(OTHER, OTHER, True), (OTHER, OWN, True), (OWN, OWN, True), (OWN, OTHER, False)],
)
def test_only_a_taught_answer_that_was_not_given_before_is_wrong(
    answer: Any, before: Any, right: bool
) -> None:
    given = GateInput(probes=(TAUGHT, FREE), candidate={"t": OWN, "p": answer}, parent={"p": before})
    assert Seen(given).against(FREE, answer, before) is right


def test_an_answer_that_does_not_end_is_never_right() -> None:
    given = GateInput(probes=(FREE,), candidate={}, parent={"p": OTHER})
    assert not Seen(given).against(FREE, said("Quite well", stop="length"), OTHER)


def test_a_prompt_is_judged_against_the_parent_and_a_neighbour_against_the_base() -> None:
    neighbour = probe("n", "neighbour", "Where is the lamp?", example_id="key")
    given = GateInput(
        probes=(TAUGHT, FREE, neighbour),
        candidate={"t": OWN, "p": OWN, "n": OTHER},
        parent={"p": OWN, "n": OWN},
        base={"p": OTHER, "n": OTHER},
    )
    assert Seen(given).is_right(FREE)
    assert Seen(given).is_right(neighbour)
