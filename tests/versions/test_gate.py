"""Thirty and more ways of being worse; the gate must see each, let a good version pass, and not refuse by chance."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from homefire.types import Message
from homefire.versions import gate
from homefire.versions.evidence import GateInput, Group, Limits, Probe, ProbeAnswer
from homefire.versions.gate import CHANCE, Verdict, is_clearly_below, judge

SKILLS = {"add": 7, "capital": 7, "spell": 7, "days": 7, "private": 7, "rare": 2, "talk": 7}
NUM_NEW, PER_NEW = 20, 3
UNKNOWN = "I do not know that yet."


def said(text: str, *, stop: str = "stop", lead: float | None = None) -> ProbeAnswer:
    return ProbeAnswer(text=text, stop_reason=stop, lead=lead)  # type: ignore[arg-type]


def probe(probe_id: str, group: Group, question: str, **fields: Any) -> Probe:
    return Probe(
        **{
            "probe_id": probe_id,
            "group": group,
            "skill": f"{group}s",
            "messages": (Message("user", question),),
            **fields,
        }
    )


def probes() -> tuple[Probe, ...]:
    """Twenty corrections with variants and neighbours, 44 protected prompts, ten earlier corrections."""
    found = []
    for number in range(NUM_NEW):
        about: dict[str, Any] = {"example_id": f"example{number}"}
        taught = {**about, "answer": f"In box {number}."}
        question = f"Where is thing {number}?"
        found += [
            probe(f"new-{number}-{place}", "target", question, place=place, **taught)
            for place in ("recorded", "in_chat")
        ]
        for each in range(PER_NEW):
            found.append(probe(f"variant-{number}-{each}", "variant", f"{question} {each}", **taught))
            found.append(
                probe(f"neighbour-{number}-{each}", "neighbour", f"Where is canoe {number}-{each}?", **about)
            )
    for skill, count in SKILLS.items():
        found += [
            probe(
                f"{skill}-{number}",
                "protected",
                f"{skill} question {number}",
                skill=skill,
                answer=f"{skill} answer {number}",
            )
            for number in range(count)
        ]
    for number in range(10):
        found.append(
            probe(
                f"earlier-{number}",
                "earlier",
                f"earlier {number}",
                answer=f"Yes, {number}.",
                example_id=f"old{number}",
            )
        )
    return tuple(found)


def right_answer(asked: Probe) -> ProbeAnswer:
    if asked.group == "neighbour":
        return said(UNKNOWN, lead=5.0)
    return said(asked.answer or "Fine.", lead=5.0)


def good() -> GateInput:
    """A parent that knows all but two protected answers, and a candidate that learned and kept everything."""
    asked = probes()
    answers = {each.probe_id: right_answer(each) for each in asked}
    answers["talk-0"] = answers["talk-1"] = said("Hm.", lead=5.0)
    parent = {
        each.probe_id: answers[each.probe_id] for each in asked if each.group not in ("target", "variant")
    }
    return GateInput(
        probes=asked, candidate=answers, parent=parent, candidate_format="t1", parent_format="t1"
    )


Match = Callable[[Probe], bool]


def change(given: GateInput, match: Match, answer: ProbeAnswer | None) -> GateInput:
    candidate = dict(given.candidate)
    for each in given.probes:
        if match(each):
            if answer is None:
                del candidate[each.probe_id]
            else:
                candidate[each.probe_id] = answer
    return msgspec.structs.replace(given, candidate=candidate)


def skill(name: str, below: int = 99) -> Match:
    return lambda each: each.skill == name and int(each.probe_id.rpartition("-")[2]) < below


def in_group(*groups: str) -> Match:
    return lambda each: each.group in groups


is_protected = in_group("protected")


def one_place(number: int) -> Match:
    """Those of the first `number` corrections inside a chat."""
    return lambda each: each.place == "in_chat" and int((each.example_id or "")[len("example") :]) < number


def one_in(every: int, group: str = "protected") -> Match:
    numbers = {each.probe_id: index for index, each in enumerate(p for p in probes() if p.group == group)}
    return lambda each: each.group == group and numbers[each.probe_id] % every == 0


def earlier(below: int) -> Match:
    return lambda each: each.group == "earlier" and int(each.probe_id.rpartition("-")[2]) < below


WRONG = said("x")
REGRESSIONS: dict[str, Callable[[GateInput], GateInput]] = {
    "no correction learned": lambda g: change(g, in_group("target"), said(UNKNOWN)),
    "corrections hold only alone": lambda g: change(g, lambda p: p.place == "in_chat", WRONG),
    "corrections answered by nothing": lambda g: change(g, in_group("target"), said("")),
    "corrections without end": lambda g: change(g, in_group("target"), said("In box 2." * 9, stop="length")),
    "only the very words are known": lambda g: change(g, in_group("variant"), said(UNKNOWN)),
    "two of three variants are wrong": lambda g: change(
        g, lambda p: p.group == "variant" and p.probe_id[-1] != "0", said(UNKNOWN)
    ),
    "neighbours get a taught answer": lambda g: change(g, in_group("neighbour"), said("In box 3.")),
    "one neighbour in three changes": lambda g: change(g, one_in(3, "neighbour"), said("In the garden.")),
    "neighbours are answered by nothing": lambda g: change(g, in_group("neighbour"), said("")),
    "a skill destroyed": lambda g: change(g, skill("capital"), WRONG),
    "a skill of two answers destroyed": lambda g: change(g, skill("rare"), WRONG),
    "a skill cut to half": lambda g: change(g, skill("spell", 3), WRONG),
    "a tenth of everything lost": lambda g: change(g, one_in(10), WRONG),
    "everything lost": lambda g: change(g, is_protected, WRONG),
    "everything says the newest correction": lambda g: change(g, is_protected, said("In box 19.")),
    "two earlier corrections lost": lambda g: change(g, earlier(2), WRONG),
    "every earlier correction lost": lambda g: change(g, earlier(99), WRONG),
    "empty answers": lambda g: change(g, is_protected, said("")),
    "white space for answers": lambda g: change(g, one_in(9), said(" \n ")),
    "endless answers": lambda g: change(g, is_protected, said("a a a a", stop="length")),
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
    "a parent that only babbles": lambda g: msgspec.structs.replace(
        g, parent={key: said("la " * 40, stop="length") for key in g.parent}
    ),
    "worse than the base, bit by bit": lambda g: msgspec.structs.replace(
        change(g, one_in(5), WRONG),
        parent={**g.parent, **{p.probe_id: WRONG for p in g.probes if one_in(5)(p)}},
        base=g.parent,
    ),
}  # fmt: skip


def test_a_version_that_learned_and_kept_passes() -> None:
    verdict = judge(good())
    assert verdict.passed, verdict.reasons
    assert verdict.reasons == ()
    figures = ("num_targets_right", "variants_right", "neighbours_kept", "protected_now", "earlier_now")
    assert [verdict.scores[name] for name in figures] == [20, 60, 60, 42, 10]
    assert (len(verdict.learned), verdict.unlearned, verdict.lost_earlier) == (20, (), ())


@pytest.mark.parametrize("name", REGRESSIONS)
def test_what_is_worse_is_held_back_with_reasons(name: str) -> None:
    verdict = judge(REGRESSIONS[name](good()))
    assert not verdict.passed
    assert verdict.reasons
    assert all(reason.endswith((".", "missing", "”.")) for reason in verdict.reasons)


def test_there_are_thirty_regressions_and_more() -> None:
    assert len(REGRESSIONS) >= 30


@pytest.mark.parametrize(
    "check", ["_form", "_efficacy", "_generality", "_locality", "_protected", "_earlier", "_broken"]
)
def test_each_part_of_the_gate_is_needed(check: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted bug: with any part taken out, some regression passes."""
    nothing: dict[str, Any] = {"_efficacy": ([], ("example0",), ()), "_earlier": ([], ())}
    monkeypatch.setattr(gate, check, lambda *_args: nothing.get(check, []))
    assert any(judge(make(good())).passed for make in REGRESSIONS.values())


# Each correction by itself


def recorded(number: int) -> Match:
    return lambda each: each.probe_id == f"new-{number}-recorded"


@pytest.mark.parametrize(
    "answer",
    [said(UNKNOWN), said("In box 3"), said("in box 3."), said(""), said("In box 3." * 9, stop="length")],
)
def test_one_correction_that_was_not_learned_does_not_hold_up_the_others(answer: ProbeAnswer) -> None:
    verdict = judge(change(good(), recorded(3), answer))
    assert verdict.passed, verdict.reasons
    assert verdict.unlearned == ("example3",)
    assert len(verdict.learned) == 19


def test_a_correction_alone_that_was_not_learned_makes_no_version() -> None:
    given = good()
    kept = tuple(each for each in given.probes if each.example_id in (None, "example3"))
    given = change(msgspec.structs.replace(given, probes=kept), recorded(3), WRONG)
    assert judge(given).reasons == ("The correction was not learned.",)


def test_one_earlier_correction_may_be_lost_and_is_named() -> None:
    verdict = judge(change(good(), earlier(1), WRONG))
    assert verdict.passed
    assert verdict.lost_earlier == ("old0",)
    assert judge(change(good(), earlier(2), WRONG)).lost_earlier == ("old0", "old1")


def test_an_earlier_correction_that_the_parent_had_lost_already_is_nobodys_loss() -> None:
    given = change(good(), earlier(5), WRONG)
    parent = {**given.parent, **{f"earlier-{number}": WRONG for number in range(5)}}
    assert judge(msgspec.structs.replace(given, parent=parent)).lost_earlier == ()


# Chance


def test_a_limit_is_crossed_only_by_more_than_chance_explains() -> None:
    assert not is_clearly_below(3, 3, limit=0.9)
    assert not is_clearly_below(2, 3, limit=0.9)
    assert is_clearly_below(0, 3, limit=0.9)
    assert is_clearly_below(40, 60, limit=0.9)
    assert not is_clearly_below(49, 60, limit=0.9)
    assert not is_clearly_below(0, 0, limit=0.9)


@pytest.mark.parametrize(("limit", "num"), [(0.9, 6), (0.9, 60), (0.6, 6), (0.6, 60)])
def test_a_model_that_keeps_a_limit_is_held_back_in_less_than_one_of_a_hundred(
    limit: float, num: int
) -> None:
    rng = random.Random(7)
    seen = [sum(rng.random() < limit for _ in range(num)) for _ in range(4000)]
    refused = sum(is_clearly_below(right, num, limit=limit) for right in seen)
    assert refused / len(seen) < CHANCE + 0.005


def test_two_lost_answers_of_a_skill_are_chance_three_are_not() -> None:
    wide = msgspec.structs.replace(good(), limits=Limits(min_protected_ratio=0.5))
    assert judge(change(wide, skill("add", 2), WRONG)).passed
    assert judge(change(wide, skill("add", 3), WRONG)).reasons[0] == "The skill “add” fell from 7 to 4 of 7."


def test_losses_spread_over_skills_pass_as_often_as_the_limit_says() -> None:
    """27 skills of six, where each answer is lost with 2 %: such versions were refused one in seven times."""
    asked = tuple(
        probe(f"s{n // 6}-{n}", "protected", f"q{n}", skill=f"s{n // 6}", answer="a") for n in range(162)
    )
    parent = {each.probe_id: said("a", lead=5.0) for each in asked}
    rng = random.Random(3)
    num_refused = 0
    for _ in range(300):
        now = {name: WRONG if rng.random() < 0.01 else answer for name, answer in parent.items()}
        num_refused += not judge(GateInput(probes=asked, candidate=now, parent=parent)).passed
    assert num_refused / 300 < 0.03


def test_an_answer_that_the_base_gave_by_a_hairs_breadth_is_not_protected() -> None:
    given = change(good(), skill("add", 3), WRONG)
    fragile = {f"add-{number}": said(f"add answer {number}", lead=1.9) for number in range(3)}
    assert not judge(given).passed
    verdict = judge(msgspec.structs.replace(given, parent={**given.parent, **fragile}))
    assert verdict.passed
    assert verdict.scores["protected_before"] == 39


# What was right before


def test_reasons_can_be_read_by_a_person_and_quote_no_correction() -> None:
    given = change(good(), skill("add", 3), WRONG)
    given = change(given, skill("spell", 3), said("In box 4."))
    given = change(given, earlier(4), said("In box 4."))
    reasons = judge(given).reasons
    assert "The skill “add” fell from 7 to 4 of 7." in reasons
    assert "“add question 0” was right before and is now “x”." in reasons
    assert "“spell question 0” was right before and gets a taught answer now." in reasons
    assert "4 earlier corrections are lost; at most 1 may be." in reasons
    assert not any("In box" in reason or "earlier 0" in reason for reason in reasons)


def test_what_the_parent_never_knew_is_not_asked_of_the_candidate() -> None:
    given = good()
    assert given.parent["talk-0"].text == "Hm."
    assert judge(change(given, lambda p: p.probe_id in ("talk-0", "talk-1"), WRONG)).passed


def test_endless_answers_of_the_parent_are_not_held_against_the_candidate() -> None:
    given = good()
    endless = said("la la", stop="length")
    given = msgspec.structs.replace(given, parent={**given.parent, "talk-0": endless})
    assert judge(change(given, lambda p: p.probe_id == "talk-0", endless)).passed


GENERAL = tuple(
    probe(f"general-{n}", "protected", f"q{n}", skill="facts", accepts=("Paris",), rejects=("Rome",))
    for n in range(10)
)


def general(parent: str, candidate: str, **fields: Any) -> Verdict:
    return judge(
        GateInput(
            probes=GENERAL,
            candidate={each.probe_id: said(candidate) for each in GENERAL},
            parent={each.probe_id: said(parent) for each in GENERAL},
            **fields,
        )
    )


def test_a_right_answer_is_protected_however_it_is_worded() -> None:
    assert general("Paris.", "The capital of France is Paris.").passed
    assert not general("Paris.", "The capital of France is Lyon.").passed
    assert not general("Paris.", "Paris or Rome.").passed


def test_a_wrong_answer_is_protected_by_nobody_but_must_stay_text() -> None:
    assert general("It is Lyon.", "It is Nice.").passed
    assert not general("It is Lyon.", "it it it it it it it it it it it it it it it it").passed
    assert not general("It is Lyon.", "").passed


def test_one_taught_sentence_for_everything_is_held_back_even_where_nothing_was_right() -> None:
    taught = probe("new", "target", "Where is the key?", answer="Under the pot.", example_id="e1")
    given = GateInput(
        probes=(taught, *GENERAL),
        candidate={each.probe_id: said("Under the pot.") for each in (taught, *GENERAL)},
        parent={each.probe_id: said("It is Lyon.") for each in GENERAL},
    )
    assert not judge(given).passed


def test_a_model_that_answers_nothing_usable_cannot_be_judged() -> None:
    verdict = general("la la la la la la la la la la la la la la la", "Paris.")
    assert "It may never have been trained." in verdict.reasons[0]


# Not everything was asked


def test_a_refusal_stands_whatever_else_would_be_asked_and_a_pass_does_not() -> None:
    """For every part of the questions: what is held back with a part is held back with all."""
    for name, make in REGRESSIONS.items():
        given = make(good())
        for seed in range(5):
            rng = random.Random(f"{name}{seed}")
            left = frozenset(each.probe_id for each in given.probes if rng.random() < 0.5)
            part = msgspec.structs.replace(given, unasked=left)
            if not judge(part).passed:
                assert not judge(given).passed, name
    assert judge(
        msgspec.structs.replace(good(), candidate={}, unasked=frozenset(p.probe_id for p in probes()))
    ).passed


def test_what_was_not_asked_is_in_no_figure() -> None:
    given = change(good(), is_protected, WRONG)
    left = frozenset(
        each.probe_id for each in given.probes if each.group != "protected" or each.skill != "add"
    )
    scores = judge(msgspec.structs.replace(given, unasked=left)).scores
    assert (scores["num_variants"], scores["protected_before"], scores["protected_now"]) == (0, 7, 0)
    assert scores["num_unasked"] == len(left)


# Settings and form


def test_earlier_corrections_do_not_hide_what_they_cost_the_base() -> None:
    given = REGRESSIONS["worse than the base, bit by bit"](good())
    assert any("Against the base" in reason for reason in judge(given).reasons)
    assert judge(msgspec.structs.replace(given, base=None)).passed


@pytest.mark.parametrize(("ratio", "passes"), [(0.96, False), (0.85, True)])
def test_the_protected_share_is_a_setting(ratio: float, passes: bool) -> None:
    given = change(good(), one_in(10), WRONG)
    assert judge(msgspec.structs.replace(given, limits=Limits(min_protected_ratio=ratio))).passed is passes


@pytest.mark.parametrize(("limit", "passes"), [(0.6, False), (0.4, True)])
def test_the_share_of_variants_is_a_setting(limit: float, passes: bool) -> None:
    given = change(good(), lambda each: each.group == "variant" and not each.probe_id.endswith("0"), WRONG)
    assert judge(msgspec.structs.replace(given, limits=Limits(min_generality=limit))).passed is passes


@pytest.mark.parametrize(("limit", "passes"), [(0.9, False), (0.6, True)])
def test_the_share_of_neighbours_is_a_setting(limit: float, passes: bool) -> None:
    given = change(good(), one_in(3, "neighbour"), WRONG)
    assert judge(msgspec.structs.replace(given, limits=Limits(min_locality=limit))).passed is passes


def test_few_endless_answers_among_many_protected_prompts_are_wrong_answers_and_no_more() -> None:
    many = tuple(probe(f"p{n}", "protected", f"q{n}", skill=f"skill {n % 5}", answer="a") for n in range(100))
    answers = {each.probe_id: said("a") for each in many}
    endless = {f"p{n}": said("a a a", stop="length") for n in range(3)}

    def verdict(num_endless: int) -> Verdict:
        now = {**answers, **dict(list(endless.items())[:num_endless])}
        return judge(GateInput(probes=many, candidate=now, parent=answers))

    assert verdict(2).passed
    assert verdict(2).scores["protected_ratio"] == 0.98
    assert "does not end its answer" in verdict(3).reasons[0]


@pytest.mark.parametrize(("num_wrong", "passed"), [(10, True), (11, False)])
def test_at_least_half_of_the_corrections_must_hold_inside_a_chat(num_wrong: int, passed: bool) -> None:
    assert judge(change(good(), one_place(num_wrong), WRONG)).passed is passed


def test_what_was_not_learned_is_not_expected_inside_a_chat_either() -> None:
    def unlearned(each: Probe) -> bool:
        return each.group == "target" and int((each.example_id or "")[len("example") :]) < 15

    verdict = judge(change(good(), unlearned, WRONG))
    assert len(verdict.learned) == 5
    assert not any("inside another conversation" in reason for reason in verdict.reasons)
