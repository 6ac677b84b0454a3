"""Twenty and more ways of being worse; the gate must see each, and let a good version pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from homefire.types import Message
from homefire.versions import gate
from homefire.versions.gate import GateInput, Limits, Probe, ProbeAnswer, Verdict, judge

SKILLS = {"add": 7, "capital": 7, "spell": 7, "days": 7, "private": 7, "rare": 2, "talk": 7}


def said(text: str, *, stop: str = "stop") -> ProbeAnswer:
    return ProbeAnswer(text=text, stop_reason=stop)  # type: ignore[arg-type]


def probes() -> tuple[Probe, ...]:
    targets = [
        Probe(
            probe_id=f"new-{number}-{place}",
            group="target",
            skill="new corrections",
            messages=(Message("user", f"Where is thing {number}?"),),
            answer=f"In box {number}.",
            place=place,
            example_id=f"example{number}",
        )
        for number in range(20)
        for place in ("recorded", "in_chat")
    ]
    protected = [
        Probe(
            probe_id=f"{skill}-{number}",
            group="protected",
            skill=skill,
            messages=(Message("user", f"{skill} question {number}"),),
            answer=f"{skill} answer {number}",
        )
        for skill, count in SKILLS.items()
        for number in range(count)
    ]
    return (*targets, *protected)


def good() -> GateInput:
    """A parent that knows all but two protected answers, and a candidate that learned and kept everything."""
    asked = probes()
    parent = {
        probe.probe_id: said("I do not know." if probe.group == "target" else probe.answer or "")
        for probe in asked
    }
    parent["talk-0"] = parent["talk-1"] = said("Hm.")
    candidate = {probe.probe_id: said(probe.answer or "") for probe in asked}
    candidate["talk-0"] = candidate["talk-1"] = said("Hm.")
    return GateInput(
        probes=asked, candidate=candidate, parent=parent, candidate_format="t1", parent_format="t1"
    )


def change(given: GateInput, match: Callable[[Probe], bool], answer: ProbeAnswer | None) -> GateInput:
    candidate = dict(given.candidate)
    for probe in given.probes:
        if match(probe):
            if answer is None:
                del candidate[probe.probe_id]
            else:
                candidate[probe.probe_id] = answer
    return msgspec.structs.replace(given, candidate=candidate)


def skill(name: str, below: int = 99) -> Callable[[Probe], bool]:
    return lambda probe: probe.skill == name and int(probe.probe_id.rpartition("-")[2]) < below


def is_protected(probe: Probe) -> bool:
    return probe.group == "protected"


def one_in(every: int) -> Callable[[Probe], bool]:
    numbers = {probe.probe_id: index for index, probe in enumerate(p for p in probes() if is_protected(p))}
    return lambda probe: is_protected(probe) and numbers[probe.probe_id] % every == 0


def recorded(number: int) -> Callable[[Probe], bool]:
    return lambda probe: probe.probe_id == f"new-{number}-recorded"


WRONG = said("x")
REGRESSIONS: dict[str, Callable[[GateInput], GateInput]] = {
    "one correction not learned": lambda g: change(g, recorded(3), said("I do not know.")),
    "no correction learned": lambda g: change(g, lambda p: p.group == "target", said("I do not know.")),
    "a correction almost right": lambda g: change(g, recorded(0), said("In box 0")),
    "a correction in another case": lambda g: change(g, recorded(0), said("in box 0.")),
    "corrections hold only alone": lambda g: change(g, lambda p: p.place == "in_chat", WRONG),
    "a correction answered by nothing": lambda g: change(g, recorded(2), said("")),
    "a correction without end": lambda g: change(g, recorded(2), said("In box 2." * 9, stop="length")),
    "a skill destroyed": lambda g: change(g, skill("capital"), WRONG),
    "a skill of two answers destroyed": lambda g: change(g, skill("rare"), WRONG),
    "a skill cut to two thirds": lambda g: change(g, skill("spell", 2), WRONG),
    "a tenth of everything lost": lambda g: change(g, one_in(10), WRONG),
    "everything lost": lambda g: change(g, is_protected, WRONG),
    "everything says the newest correction": lambda g: change(g, is_protected, said("In box 19.")),
    "empty answers": lambda g: change(g, is_protected, said("")),
    "one empty answer": lambda g: change(g, lambda p: p.probe_id == "add-0", said("")),
    "white space for answers": lambda g: change(g, one_in(9), said(" \n ")),
    "endless answers": lambda g: change(g, is_protected, said("a a a a", stop="length")),
    "one endless answer": lambda g: change(
        g, lambda p: p.probe_id == "add-0", said("add answer 0 0", stop="length")
    ),
    "right text, then no end": lambda g: msgspec.structs.replace(
        g, candidate={key: msgspec.structs.replace(a, stop_reason="length") for key, a in g.candidate.items()}
    ),
    "engine errors": lambda g: change(g, is_protected, ProbeAnswer(error="the engine crashed")),
    "one engine error": lambda g: change(g, lambda p: p.probe_id == "add-0", ProbeAnswer(error="crashed")),
    "answers missing": lambda g: change(g, skill("add"), None),
    "no answer at all": lambda g: msgspec.structs.replace(g, candidate={}),
    "does not load": lambda g: msgspec.structs.replace(g, obstacle="a tensor is missing"),
    "NaN in the weights": lambda g: msgspec.structs.replace(g, non_finite=("lm_head.weight",)),
    "another chat template": lambda g: msgspec.structs.replace(g, candidate_format="t2"),
    "nothing to ask": lambda g: msgspec.structs.replace(g, probes=()),
    "worse than the base, bit by bit": lambda g: msgspec.structs.replace(
        change(g, one_in(5), WRONG),
        parent={**g.parent, **{p.probe_id: WRONG for p in g.probes if one_in(5)(p)}},
        base={p.probe_id: said(p.answer or "") for p in g.probes if is_protected(p)},
    ),
}


def test_a_version_that_learned_and_kept_passes() -> None:
    verdict = judge(good())
    assert verdict.passed, verdict.reasons
    assert verdict.reasons == ()
    assert verdict.scores["target_score"] == 1.0
    assert verdict.scores["protected_ratio"] == 1.0
    assert verdict.scores["num_targets"] == 20
    assert verdict.scores["examples"] == {f"example{number}": True for number in range(20)}


@pytest.mark.parametrize("name", REGRESSIONS)
def test_what_is_worse_is_held_back_with_reasons(name: str) -> None:
    verdict = judge(REGRESSIONS[name](good()))
    assert not verdict.passed
    assert verdict.reasons
    assert all(reason.endswith((".", "missing")) for reason in verdict.reasons)


def test_there_are_twenty_regressions_and_more() -> None:
    assert len(REGRESSIONS) >= 20


def test_reasons_can_be_read_by_a_person() -> None:
    given = change(good(), skill("add", 3), said("x"))
    reasons = judge(given).reasons
    assert "The skill “add” fell from 7 to 4 of 7." in reasons
    assert "“add question 0” was right before and is now “x”." in reasons


def test_a_small_loss_in_a_skill_is_forgiven() -> None:
    assert judge(change(good(), lambda probe: probe.probe_id == "add-0", WRONG)).passed


def test_what_the_parent_never_knew_is_not_asked_of_the_candidate() -> None:
    given = good()
    assert given.parent["talk-0"].text == "Hm."
    assert judge(change(given, lambda probe: probe.probe_id in ("talk-0", "talk-1"), WRONG)).passed


def test_endless_answers_of_the_parent_are_not_held_against_the_candidate() -> None:
    given = good()
    endless = said("la la", stop="length")
    given = msgspec.structs.replace(given, parent={**given.parent, "talk-0": endless})
    assert judge(change(given, lambda probe: probe.probe_id == "talk-0", endless)).passed


def test_earlier_corrections_do_not_hide_what_they_cost_the_base() -> None:
    earlier = tuple(
        Probe(
            probe_id=f"earlier-{number}", group="protected", skill="earlier corrections",
            messages=(Message("user", f"earlier {number}"),), answer="yes", example_id=f"old{number}",
        )
        for number in range(50)
    )  # fmt: skip
    given = REGRESSIONS["worse than the base, bit by bit"](good())
    yes = {probe.probe_id: said("yes") for probe in earlier}
    given = msgspec.structs.replace(
        given,
        probes=(*given.probes, *earlier),
        candidate={**given.candidate, **yes},
        parent={**given.parent, **yes},
        base={**(given.base or {}), **{probe.probe_id: said("no") for probe in earlier}},
    )
    assert not judge(given).passed


def test_without_a_known_answer_the_parents_sense_is_the_reference() -> None:
    asked = tuple(
        Probe(probe_id=f"general-{n}", group="protected", skill="talk", messages=(Message("user", f"q{n}"),))
        for n in range(4)
    )
    parent = {probe.probe_id: said("The capital of France is Paris.") for probe in asked}
    same = {probe.probe_id: said("France's capital is Paris.") for probe in asked}
    other = {probe.probe_id: said("zzzzz qqqq") for probe in asked}
    assert judge(GateInput(probes=asked, candidate=parent, parent=parent)).passed
    assert judge(GateInput(probes=asked, candidate=same, parent=parent)).passed
    assert not judge(GateInput(probes=asked, candidate=other, parent=parent)).passed


def test_many_small_moves_away_from_the_bases_own_answers_add_up() -> None:
    asked = tuple(
        Probe(
            probe_id=f"general-{n}", group="protected", skill=f"s{n}", messages=(Message("user", f"q{n}"),)
        )
        for n in range(20)
    )  # fmt: skip
    base = {probe.probe_id: said("The capital of France is Paris.") for probe in asked}
    moved = {**base, **{f"general-{n}": said("zzzzz qqqq") for n in range(3)}}
    assert judge(GateInput(probes=asked, candidate=moved, parent=moved)).passed
    verdict = judge(GateInput(probes=asked, candidate=moved, parent=moved, base=base))
    assert not verdict.passed
    assert verdict.scores["base_ratio"] == 0.85


@pytest.mark.parametrize(
    ("score", "passes"), [(1.0, False), (0.95, True)], ids=["all must be right", "one in twenty may be wrong"]
)
def test_the_share_of_corrections_is_a_setting(score: float, passes: bool) -> None:
    given = change(good(), recorded(3), WRONG)
    assert judge(msgspec.structs.replace(given, limits=Limits(min_target_score=score))).passed is passes


@pytest.mark.parametrize(("ratio", "passes"), [(0.95, False), (0.85, True)])
def test_the_protected_share_is_a_setting(ratio: float, passes: bool) -> None:
    given = change(good(), one_in(10), WRONG)
    limits = Limits(min_protected_ratio=ratio, max_skill_loss=0.5)
    assert judge(msgspec.structs.replace(given, limits=limits)).passed is passes


def test_long_corrections_may_slip_a_little_short_ones_may_not() -> None:
    long = "A sentence that goes on and on, word by word. " * 8
    asked = (Probe(probe_id="p", group="target", skill="new", messages=(Message("user", "q"),), answer=long),)
    parent = {"p": said("no")}
    slip = {"p": said(long.replace("goes", "goas", 1))}
    wrong = {"p": said(long[: len(long) // 2])}
    assert judge(GateInput(probes=asked, candidate=slip, parent=parent)).passed
    assert not judge(GateInput(probes=asked, candidate=wrong, parent=parent)).passed


@pytest.mark.parametrize("check", ["_form", "_targets", "_protected"])
def test_each_part_of_the_gate_is_needed(check: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted bug: with any part taken out, some regression passes."""
    plan: dict[str, Any] = {check: lambda *_args: []}
    for name, part in plan.items():
        monkeypatch.setattr(gate, name, part)
    assert any(judge(make(good())).passed for make in REGRESSIONS.values())


def test_few_endless_answers_among_many_protected_prompts_are_wrong_answers_and_no_more() -> None:
    many = tuple(
        Probe(
            probe_id=f"p{n}",
            group="protected",
            skill=f"skill {n % 5}",
            messages=(Message("user", f"q{n}"),),
            answer="a",
        )
        for n in range(100)
    )
    answers = {probe.probe_id: said("a") for probe in many}
    endless = {f"p{n}": said("a a a", stop="length") for n in range(3)}

    def verdict(num_endless: int) -> Verdict:
        now = {**answers, **dict(list(endless.items())[:num_endless])}
        return judge(GateInput(probes=many, candidate=now, parent=answers))

    assert verdict(2).passed
    assert verdict(2).scores["protected_ratio"] == 0.98
    assert "does not end its answer" in verdict(3).reasons[0]
