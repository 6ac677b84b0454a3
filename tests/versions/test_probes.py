from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from homefire.errors import BadModel, EngineCrashed
from homefire.types import Message
from homefire.versions import probes as probes_module
from homefire.versions.gate import Probe
from homefire.versions.probes import AnswerCache, ask, build_probes, load_probes
from tests.support.scripted_engine import ScriptedEngine, scripted_spec
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


def test_a_correction_is_asked_alone_and_inside_another_conversation() -> None:
    example = Example("e1", (user("Where?"), answer("There.")))
    found = build_probes([example], earlier=[], protected=[])
    assert [(each.place, len(each.messages), each.answer) for each in found] == [
        ("recorded", 1, "There."), ("in_chat", 3, "There."),
    ]  # fmt: skip
    assert found[1].messages[-1] == user("Where?")


def test_a_correction_with_a_context_is_asked_without_it_too() -> None:
    system = Message("system", "Be brief.")
    example = Example("e1", (system, user("Hi"), answer("Hello"), user("And now?"), answer("Now.")))
    found = {each.place: each.messages for each in build_probes([example], earlier=[], protected=[])}
    assert found["recorded"] == example.messages[:-1]
    assert found["alone"] == (system, user("And now?"))
    assert found["in_chat"][0] == system


def test_a_protected_question_that_is_corrected_is_replaced() -> None:
    example = Example("e1", (user("question  1"), answer("no")))
    protected = [probe(1), probe(2)]
    found = build_probes([example], earlier=[], protected=protected)
    assert [each.probe_id for each in found if each.group == "protected"] == ["p2"]


def test_earlier_corrections_are_protected_unless_corrected_again() -> None:
    earlier = [Example("old1", (user("a"), answer("1"))), Example("old2", (user("b"), answer("2")))]
    new = [Example("new", (user("b"), answer("3")))]
    found = build_probes(new, earlier=earlier, protected=[probe(1, question="a")])
    protected = [each for each in found if each.group == "protected"]
    assert [(each.example_id, each.answer) for each in protected] == [("old1", "1")]


def test_many_probes_are_thinned_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes_module, "MAX_PROTECTED", 4)
    many = [probe(number, skill="add" if number < 90 else "rare") for number in range(100)]
    found = build_probes([], earlier=[], protected=many)
    assert [each.skill for each in found] == ["add", "add", "rare", "rare"]


async def test_asking_is_greedy_and_says_how_far_it_is() -> None:
    engine = ScriptedEngine(answer=lambda request: f"re: {request.messages[-1].content}")
    heard: list[tuple[int, int]] = []
    found = await ask(
        engine,
        [probe(number) for number in range(5)],
        max_tokens=9,
        on_answer=lambda n, m: heard.append((n, m)),
    )
    assert found["p3"].text == "re: question 3"
    assert found["p3"].stop_reason == "stop"
    assert heard[-1] == (5, 5)
    assert all(request.sampling.temperature == 0.0 for request in engine.requests)


async def test_an_answer_longer_than_the_limit_may_be_finished_when_the_reference_is() -> None:
    engine = ScriptedEngine(answer="one two three four five six")
    short = probe(1)
    long = Probe(
        probe_id="long",
        group="target",
        skill="new",
        messages=(user("q"),),
        answer="one two three four five six",
    )
    found = await ask(engine, [short, long], max_tokens=2)
    assert found["p1"].stop_reason == "stop"  # a reference of three letters leaves room for eleven tokens
    assert found["long"].text == long.answer


async def test_an_engine_that_crashes_is_asked_once_more_then_it_counts_as_failed() -> None:
    engine = ScriptedEngine(fail_with=EngineCrashed("It crashed."))
    found = await ask(engine, [probe(1)], max_tokens=9)
    assert found["p1"].error == "It crashed."
    assert len(engine.requests) == 2


async def test_a_question_that_does_not_fit_is_a_failed_answer_not_a_crash() -> None:
    engine = ScriptedEngine(scripted_spec(context_length=4))
    found = await ask(engine, [probe(1, question="one two three four five")], max_tokens=9)
    assert "tokens" in (found["p1"].error or "")


async def test_answers_are_kept_by_weights_and_failures_are_not(tmp_path: Path) -> None:
    cache, spec = AnswerCache(tmp_path / "answers"), scripted_spec("a")
    asked = [probe(1), probe(2)]
    answers = await ask(ScriptedEngine(answer="yes"), asked, max_tokens=9)
    answers["p2"] = (await ask(ScriptedEngine(fail_with=EngineCrashed("x")), [asked[1]], max_tokens=9))["p2"]
    cache.keep(spec, asked, answers, max_tokens=9)
    assert set(cache.known(spec, asked, max_tokens=9)) == {"p1"}
    assert cache.known(spec, asked, max_tokens=99) == {}
    assert cache.known(scripted_spec("b"), asked, max_tokens=9) == {}


async def test_a_damaged_cache_is_not_used(tmp_path: Path) -> None:
    cache, spec = AnswerCache(tmp_path / "answers"), scripted_spec("a")
    cache.keep(spec, [probe(1)], await ask(ScriptedEngine(), [probe(1)], max_tokens=9), max_tokens=9)
    (path,) = (tmp_path / "answers").iterdir()
    path.write_bytes(path.read_bytes().replace(b"scripted", b"tampered"))
    assert cache.known(spec, [probe(1)], max_tokens=9) == {}
