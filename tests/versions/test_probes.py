from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from homefire.errors import BadModel
from homefire.types import Message
from homefire.versions import probes as probes_module
from homefire.versions.evidence import Probe
from homefire.versions.probes import build_probes, load_probes, stages
from tests.support.small_models import write_model


@dataclass(frozen=True)
class Example:
    example_id: str
    messages: tuple[Message, ...]


def user(text: str) -> Message:
    return Message("user", text)


def answer(text: str) -> Message:
    return Message("assistant", text)


def probe(number: int, *, skill: str = "add", question: str | None = None) -> Probe:
    text = question if question is not None else f"question {number}"
    return Probe(probe_id=f"p{number}", group="protected", skill=skill, messages=(user(text),), answer="yes")


def test_a_base_brings_its_probes(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "base", {}, probes={"add one": "1", "spell cat": "c-a-t"})
    found = load_probes(folder)
    assert [(each.skill, each.answer, each.group) for each in found] == [
        ("add", "1", "protected"), ("spell", "c-a-t", "protected"),
    ]  # fmt: skip


def test_a_base_without_probes_is_asked_general_questions_with_its_own_answers_as_reference(
    tmp_path: Path,
) -> None:
    found = load_probes(write_model(tmp_path / "base", {}))
    assert len(found) >= 20
    assert all(each.answer is None for each in found)
    assert sum(bool(each.accepts) for each in found) >= 15
    assert len({each.probe_id for each in found}) == len(found)


@pytest.mark.parametrize(
    "line", ["{", '{"skill":"a","messages":[]}', '{"skill":"a","messages":[],"answer":"b"}']
)
def test_a_broken_probe_names_its_line(tmp_path: Path, line: str) -> None:
    folder = write_model(tmp_path / "base", {}, probes={"add one": "1"})
    with (folder / "probes.jsonl").open("a") as stream:
        stream.write(line + "\n")
    with pytest.raises(BadModel, match="Line 2"):
        load_probes(folder)


def places(found: tuple[Probe, ...]) -> list[tuple[str, str, int, str | None]]:
    return [(each.group, each.place, len(each.messages), each.answer) for each in found]


def test_a_correction_is_asked_alone_inside_another_conversation_and_in_other_words() -> None:
    example = Example("e1", (user("Where do we keep the key?"), answer("There.")))
    found = build_probes([example], earlier=[], protected=[])
    assert places(found)[:2] == [("target", "recorded", 1, "There."), ("target", "in_chat", 3, "There.")]
    assert found[1].messages[-1] == example.messages[0]
    made = Counter(each.group for each in found[2:])
    assert made == {"variant": 6, "neighbour": 6}
    assert all(each.example_id == "e1" for each in found)
    assert {each.answer for each in found if each.group == "neighbour"} == {None}


def test_a_correction_with_a_context_is_asked_without_it_too_and_in_no_other_words() -> None:
    system = Message("system", "Be brief.")
    example = Example("e1", (system, user("Hi"), answer("Hello"), user("And where now?"), answer("Now.")))
    found = {each.place: each.messages for each in build_probes([example], earlier=[], protected=[])}
    assert len(found) == 3
    assert found["recorded"] == example.messages[:-1]
    assert found["alone"] == (system, user("And where now?"))
    assert found["in_chat"][0] == system


def test_a_protected_question_that_is_corrected_is_replaced() -> None:
    example = Example("e1", (user("question  1"), answer("no")))
    protected = [probe(1), probe(2)]
    found = build_probes([example], earlier=[], protected=protected)
    assert [each.probe_id for each in found if each.group == "protected"] == ["p2"]


def test_earlier_corrections_are_asked_unless_corrected_again() -> None:
    earlier = [Example("old1", (user("a"), answer("1"))), Example("old2", (user("b"), answer("2")))]
    new = [Example("new", (user("b"), answer("3")))]
    found = build_probes(new, earlier=earlier, protected=[probe(1, question="a")])
    old = [each for each in found if each.group in ("earlier", "protected")]
    assert [(each.group, each.example_id, each.answer) for each in old] == [("earlier", "old1", "1")]


def test_nothing_is_made_that_is_asked_anyway() -> None:
    """A neighbour of one correction may be another one: it must not be asked for its old answer."""
    key = Example("e1", (user("Where is the key?"), answer("There.")))
    beside = [
        each.messages[0]
        for each in build_probes([key], earlier=[], protected=[])
        if each.group == "neighbour"
    ]
    others = [Example(f"o{n}", (message, answer("Here."))) for n, message in enumerate(beside)]
    found = build_probes([key, *others[:3]], earlier=others[3:], protected=[])
    assert not {each.messages for each in found if each.group == "neighbour" and each.example_id == "e1"} & {
        (message,) for message in beside
    }


def test_the_number_of_questions_is_bounded_whatever_was_ever_taught() -> None:
    def taught(name: str, count: int) -> list[Example]:
        return [Example(f"{name}{n}", (user(f"Where is {name} {n}?"), answer(f"{n}"))) for n in range(count)]

    new, earlier = taught("tin", 30), taught("pot", 3_000)
    few = build_probes(new, earlier=earlier[:1_000], protected=[])
    many = build_probes(new, earlier=earlier, protected=[])
    assert len(few) == len(many) < 30 + 400
    assert sum(each.group == "earlier" for each in many) == probes_module.MAX_EARLIER
    one = [each.probe_id for each in build_probes(new, earlier=earlier, protected=[], seed="v001")]
    assert one == [each.probe_id for each in build_probes(new, earlier=earlier, protected=[], seed="v001")]
    assert one != [each.probe_id for each in build_probes(new, earlier=earlier, protected=[], seed="v002")]


def test_what_refuses_most_often_is_asked_first() -> None:
    example = Example("e1", (user("Where is the key?"), answer("There.")))
    earlier = [Example("old", (user("a"), answer("1")))]
    asked = build_probes([example], earlier=earlier, protected=[probe(n) for n in range(5)])
    order = [Counter(each.group for each in stage) for stage in stages(asked)]
    assert order[0] == {"target": 1}
    assert order[1] == {"protected": 2, "earlier": 1}
    assert set(order[2]) == {"target", "variant", "neighbour"}
    assert order[3] == {"protected": 3}
    assert sum(sum(stage.values()) for stage in order) == len(asked)


def test_many_probes_are_thinned_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes_module, "MAX_PROTECTED", 4)
    many = [probe(number, skill="add" if number < 90 else "rare") for number in range(100)]
    found = build_probes([], earlier=[], protected=many)
    assert [each.skill for each in found] == ["add", "add", "rare", "rare"]
