"""Who is to blame for a version that was held back: the one the evidence points at, and nobody where there is none."""

from __future__ import annotations

import msgspec

from homefire.versions.blame import CorrectionResult, results_of
from homefire.versions.evidence import GateInput, Probe, ProbeAnswer
from homefire.versions.gate import judge
from tests.versions.test_gate import WRONG, change, good, in_group, one_in, probe, recorded, said, skill


def blamed(given: GateInput, *, num_steps: int | None = None) -> dict[str, CorrectionResult]:
    results = results_of(given, judge(given), num_steps=num_steps)
    return {name: result for name, result in results.items() if result.cause is not None}


def test_nobody_is_to_blame_in_a_version_that_passed() -> None:
    results = results_of(good(), judge(good()))
    assert len(results) == 20
    assert all(result.right and result.cause is None for result in results.values())
    assert results["example3"].variants == results["example3"].neighbours == (3, 3)


def test_what_was_not_learned_says_after_how_many_steps_and_what_it_is_answered() -> None:
    results = blamed(change(good(), recorded(3), said("no idea")), num_steps=240)
    assert list(results) == ["example3"]
    assert results["example3"].why == "It was not learned after 240 steps: it is answered “no idea”."
    other = blamed(change(good(), recorded(3), said("In box 7.")))
    assert other["example3"].why == "It was not learned: it is answered with another correction's answer."
    assert "does not end" in blamed(change(good(), recorded(3), said("a", stop="length")))["example3"].why
    assert "gets an empty answer" in blamed(change(good(), recorded(3), said(" ")))["example3"].why


def test_an_answer_that_is_given_to_other_questions_is_to_blame() -> None:
    given = change(good(), skill("spell"), said("In box 7."))
    results = blamed(given)
    assert [(name, result.cause) for name, result in results.items()] == [("example7", "spreads")]
    assert "“spell question 0”" in results["example7"].why


def test_an_answer_given_to_two_earlier_corrections_is_to_blame_and_to_one_is_not() -> None:
    def earlier(count: int) -> GateInput:
        names = {f"earlier-{number}" for number in range(count)}
        return change(good(), lambda each: each.probe_id in names, said("In box 7."))

    refused = msgspec.structs.replace(judge(earlier(2)), passed=False)
    causes = {name: result.cause for name, result in results_of(earlier(2), refused).items() if result.cause}
    assert causes == {"example7": "spreads"}
    assert not any(result.cause for result in results_of(earlier(1), refused).values())


def test_what_passed_is_to_blame_for_nothing_that_was_lost() -> None:
    given = change(good(), skill("spell"), said("In box 7."))
    passed = msgspec.structs.replace(judge(given), passed=True)
    assert not any(result.cause for result in results_of(given, passed).values())


def test_a_correction_whose_neighbours_changed_is_to_blame() -> None:
    def of_seven(each: Probe) -> bool:
        return each.group == "neighbour" and each.example_id == "example7"

    given = change(change(good(), of_seven, said("In the garden.")), skill("capital"), WRONG)
    results = blamed(given)
    assert list(results) == ["example7"]
    assert results["example7"].neighbours == (0, 3)
    assert "3 of 3 similar questions" in results["example7"].why


def test_a_correction_of_whose_neighbours_most_are_as_before_is_not_to_blame() -> None:
    asked = (
        probe("n1", "target", "Where is the key?", answer="Under the pot.", example_id="key"),
        *(probe(f"b{n}", "neighbour", f"Where is canoe {n}?", example_id="key") for n in range(5)),
        *(probe(f"p{n}", "protected", f"p{n}", answer="yes") for n in range(9)),
    )
    before = {each.probe_id: said(each.answer or "I do not know.") for each in asked}
    lost = {"p0": WRONG, "p1": WRONG, "p2": WRONG}
    two, three = ({f"b{n}": said("In the garden.") for n in range(count)} for count in (2, 3))
    assert blamed(GateInput(probes=asked, candidate={**before, **lost, **two}, parent=before)) == {}
    assert set(blamed(GateInput(probes=asked, candidate={**before, **lost, **three}, parent=before))) == {
        "key"
    }


def contradicting() -> GateInput:
    """Two corrections, one of which is asked like a skill that is lost."""
    asked = (
        probe("n1", "target", "Repeat after me: blue hat", answer="No.", example_id="rude"),
        probe("n2", "target", "Where is the key?", answer="Under the pot.", example_id="key"),
        *(probe(f"echo{n}", "protected", f"Repeat after me: {w}", skill="echo", answer=w)
          for n, w in enumerate(("red shoe", "old tin", "wet dog", "tea cup"))),
        *(probe(f"add{n}", "protected", f"What is {n} + {n}?", skill="add", answer=str(2 * n)) for n in range(9)),
    )  # fmt: skip
    right = {each.probe_id: said(each.answer or "") for each in asked}
    lost: dict[str, ProbeAnswer] = {f"echo{n}": said("What?") for n in range(4)}
    return GateInput(probes=asked, candidate={**right, **lost}, parent=right)


def test_a_correction_that_is_asked_like_what_is_lost_contradicts_it() -> None:
    results = blamed(contradicting())
    assert [(name, result.cause) for name, result in results.items()] == [("rude", "contradicts")]
    assert results["rude"].why == "It contradicts what it knew of “echo”."


def test_what_is_contradicted_most_is_named_first() -> None:
    asked = (
        probe("n1", "target", "Repeat after me: blue hat", answer="No.", example_id="rude"),
        *(probe(f"{skill}{n}", "protected", f"Repeat after me: {skill} {n}", skill=skill, answer=str(n))
          for skill, count in (("one", 1), ("three", 3), ("two", 2)) for n in range(count)),
    )  # fmt: skip
    right = {each.probe_id: said(each.answer or "") for each in asked}
    lost = {each.probe_id: said("What?") for each in asked[1:]}
    given = GateInput(probes=asked, candidate={**right, **lost}, parent=right)
    assert blamed(given)["rude"].why == "It contradicts what it knew of “three” and what it knew of “two”."


def test_where_nothing_points_at_anybody_nobody_is_to_blame() -> None:
    assert blamed(change(good(), one_in(4), said("x"))) == {}


def test_a_version_that_could_not_be_asked_blames_nobody() -> None:
    given = GateInput(probes=good().probes, candidate={}, parent={}, obstacle="It does not load.")
    assert results_of(given, judge(given)) == {}


def test_no_sentence_quotes_what_another_person_taught() -> None:
    """Corrections of different people are in one version; each reads only about his own."""
    given = change(good(), in_group("neighbour", "earlier"), said("In box 7."))
    given = change(given, recorded(3), said("In box 9."))
    results = blamed(given)
    assert set(results) == {"example3", "example7"}
    for result in results.values():
        assert "earlier 0" not in result.why
        assert "In box" not in result.why
    own = {f"“Where is canoe 7-{n}?”" for n in range(3)}
    quoted = {part + "”" for part in results["example7"].why.split("”") if "“" in part}
    assert all(any(each.endswith(mine) for mine in own) for each in quoted)
