"""What the gate found, for people: one sentence, four figures, what happens next."""

from __future__ import annotations

from typing import Any

from homefire.types import Message
from homefire.versions.evidence import GateInput, Probe, ProbeAnswer
from homefire.versions.gate import Verdict, judge
from homefire.versions.report import GateReport, gate_report


def verdict_on(answers: dict[str, str], **given: Any) -> Verdict:
    """The gate's own verdict on two corrections and four protected prompts, so that its scores are real ones."""
    probes = tuple(
        Probe(
            probe_id=name,
            group="target" if name.startswith("t") else "protected",
            skill="facts",
            messages=(Message("user", f"Question {name}?"),),
            answer=f"answer of {name}",
            example_id=name if name.startswith("t") else None,
        )
        for name in ("t1", "t2", "p1", "p2", "p3", "p4")
    )
    right = {probe.probe_id: probe.answer or "" for probe in probes}
    return judge(
        GateInput(
            probes=probes,
            candidate={
                name: ProbeAnswer(text=text, stop_reason="stop")
                for name, text in {**right, **answers}.items()
            },
            parent={
                name: ProbeAnswer(text=text, stop_reason="stop")
                for name, text in right.items()
                if name[0] == "p"
            },
            **given,
        )
    )


def report_on(verdict: Verdict, *, live: str = "v006") -> GateReport:
    return gate_report(
        "v007", passed=verdict.passed, reasons=verdict.reasons, scores=verdict.scores, live=live
    )


def test_a_version_that_passed_and_is_live() -> None:
    report = report_on(verdict_on({}), live="v007")
    assert (report.tone, report.outcome) == ("good", "v007 passed every check and answers now.")
    assert [(figure.value, figure.label) for figure in report.figures] == [
        ("2 of 2", "corrections learned"),
        ("–", "right in other words"),
        ("–", "similar questions answered as before"),
        ("4 of 4", "old answers kept"),
    ]
    assert "roll back" in report.next
    assert report.reasons == ()


def test_a_version_that_passed_and_waits() -> None:
    report = report_on(verdict_on({}))
    assert report.outcome == "v007 passed every check."
    assert report.next == "v006 answers now. Promote v007 to use it."


def test_a_version_that_did_not_learn_everything_says_how_much_and_what_becomes_of_the_rest() -> None:
    report = report_on(verdict_on({"t2": "no"}), live="v007")
    assert report.tone == "good"
    assert report.outcome == "v007 learned 1 of 2 corrections and passed every other check and answers now."
    assert report.next.startswith("What was not learned is tried again by itself.")
    assert [(figure.value, figure.tone) for figure in report.figures if figure.value != "–"] == [
        ("1 of 2", "good"), ("4 of 4", "good"),
    ]  # fmt: skip


def test_what_is_whole_is_good_in_a_version_that_was_held_back_too() -> None:
    report = report_on(verdict_on({"p1": "no", "p2": "no", "p3": "no"}))
    assert [(figure.value, figure.tone) for figure in report.figures if figure.value != "–"] == [
        ("2 of 2", "good"), ("1 of 4", "bad"),
    ]  # fmt: skip


def test_one_of_something_is_told_in_the_singular() -> None:
    report = report_on(verdict_on({"t1": "no", "t2": "no", "p1": "no"}))
    assert report.outcome.endswith(
        "none of 2 corrections was learned and 1 answer that used to be right was lost."
    )


def test_a_version_that_was_taught_nothing_has_nothing_to_try_again() -> None:
    report = gate_report("v007", passed=True, reasons=(), scores={"num_lost": 0}, live="v007")
    assert report.next.startswith("If you do not like its answers")


def test_what_was_not_learned_and_what_was_lost_are_counted() -> None:
    report = report_on(verdict_on({"t1": "no", "t2": "no", "p1": "no", "p2": "no", "p3": "no"}))
    assert report.tone == "bad"
    assert report.outcome == (
        "v007 was held back: none of 2 corrections was learned and 3 answers that used to be right were lost."
    )
    assert [(figure.value, figure.tone) for figure in report.figures] == [
        ("0 of 2", "bad"), ("–", "none"), ("–", "none"), ("1 of 4", "bad"),
    ]  # fmt: skip
    assert report.next.startswith("v006 keeps answering; nothing you use has changed.")


def test_each_reason_is_told_once() -> None:
    verdict = verdict_on({"t1": "no", "t2": "no"})
    report = gate_report(
        "v007", passed=False, reasons=(*verdict.reasons, *verdict.reasons), scores=verdict.scores, live="v006"
    )
    assert report.reasons == verdict.reasons
    assert not any(reason in report.outcome + report.next for reason in report.reasons)


def test_a_version_that_could_not_be_asked() -> None:
    report = report_on(verdict_on({}, obstacle="its file does not load."))
    assert report.outcome == "v007 was held back: it could not be checked."
    assert [figure.value for figure in report.figures] == ["–"] * 4


def test_a_version_that_was_not_judged() -> None:
    report = gate_report("v007", passed=None, reasons=(), scores={}, live="v006")
    assert (report.tone, report.outcome, report.figures) == ("none", "v007 has not been checked yet.", ())


def test_a_version_that_is_live_although_it_was_refused() -> None:
    report = report_on(verdict_on({"t1": "no", "t2": "no"}), live="v007")
    assert report.outcome == (
        "v007 did not pass its checks and was promoted anyway: none of 2 corrections was learned."
    )
    assert "roll back" in report.next
