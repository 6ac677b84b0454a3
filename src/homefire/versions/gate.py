"""The gate: may this version become `live`? A pure decision over answers that were collected elsewhere.

It holds a version back when any of this is true:

- it failed to answer; or more than `max_form_loss` of its answers are empty or without end where its parent's
  were proper (of corrections, not one may be);
- its weights hold a NaN or an infinity, or its chat format is not its parent's;
- fewer corrections are right than `Limits.min_target_score` (each in the context it was given in), or too
  few of them still are inside another conversation or without their context (`min_elsewhere_score`);
- protected prompts got worse: fewer right than `min_protected_ratio` of the parent's on the very same
  prompts, or than `min_base_ratio` of the base's (so that many small losses do not add up), or one skill
  lost more than `max_skill_loss`, where one answer is always forgiven (two right answers of a skill may
  become one; both may not go).

What right means is `agreement.py`. Every reason is a sentence for a person. Costs: similarity of long
answers; nothing is asked, read or written here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from homefire.types import Message, StopReason
from homefire.versions.agreement import agrees, is_right

Group = Literal["target", "protected"]
Place = Literal["recorded", "alone", "in_chat"]
"""Where a correction is asked: in its own context, its last question alone, inside another conversation."""

MAX_NAMED = 8
"""So many single failures a verdict names; the rest is a number."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What the gate demands. The first two are settings, the others are fixed here."""

    min_target_score: float = 1.0
    min_protected_ratio: float = 0.95
    min_base_ratio: float = 0.9
    max_skill_loss: float = 0.15
    """Share of a skill's right answers that may go; one always may."""
    max_form_loss: float = 0.02
    """Share of protected prompts that may be answered with nothing or without end (wrong they are in any case)."""
    min_elsewhere_score: float = 0.5
    """Share of `alone` and `in_chat` probes of corrections that must be right."""


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """One question to both models. `answer=None`: what the parent says is the reference."""

    probe_id: str
    group: Group
    skill: str
    messages: tuple[Message, ...]
    answer: str | None = None
    place: Place = "recorded"
    example_id: str | None = None

    @property
    def question(self) -> str:
        """The last message, for people."""
        return self.messages[-1].text


class ProbeAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What a model said, or why it said nothing."""

    text: str = ""
    stop_reason: StopReason | None = None
    error: str | None = None


Answers = Mapping[str, ProbeAnswer]
"""By probe id."""


class GateInput(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the verdict depends on.

    `base` are the base's answers to the protected probes, None when the base is the parent itself.
    `obstacle` says why the candidate could not be asked at all (its file does not load, …).
    """

    probes: tuple[Probe, ...]
    candidate: dict[str, ProbeAnswer]
    parent: dict[str, ProbeAnswer]
    base: dict[str, ProbeAnswer] | None = None
    obstacle: str | None = None
    non_finite: tuple[str, ...] = ()
    candidate_format: str = ""
    parent_format: str = ""
    """Fingerprints of the chat templates."""
    limits: Limits = Limits()


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The decision; `reasons` is empty when it passed. `scores` is JSON-able."""

    passed: bool
    reasons: tuple[str, ...]
    scores: dict[str, Any]


def judge(given: GateInput) -> Verdict:
    """Decide. Never raises on what a model did; the same input gives the same verdict."""
    broken = _broken(given)
    if broken:
        return Verdict(passed=False, reasons=tuple(broken), scores={})
    targets = [probe for probe in given.probes if probe.group == "target"]
    protected = [probe for probe in given.probes if probe.group == "protected"]
    scores: dict[str, Any] = {}
    reasons = [
        *_form(given),
        *_targets(given, targets, scores),
        *_protected(given, protected, scores),
    ]
    return Verdict(passed=not reasons, reasons=tuple(reasons), scores=scores)


def score(probe: Probe, answer: ProbeAnswer | None, *, parent: ProbeAnswer | None) -> bool:
    """Whether this answer is right; where the parent's is the reference, whether it says the same."""
    if answer is None or answer.error is not None or answer.stop_reason != "stop":
        return False
    if probe.answer is not None:
        return is_right(answer.text, probe.answer)
    return parent is not None and parent.error is None and agrees(answer.text, parent.text)


def _broken(given: GateInput) -> list[str]:
    """What makes every further question pointless."""
    reasons = []
    if given.obstacle is not None:
        reasons.append(f"The new version could not be asked anything: {given.obstacle}")
    if given.non_finite:
        names = ", ".join(given.non_finite[:3])
        reasons.append(
            f"Values that are not numbers (NaN or infinity) are in {len(given.non_finite)} of its tensors: "
            f"{names}."
        )
    if given.candidate_format != given.parent_format:
        reasons.append(
            "The new version's chat template is not its parent's: it would be asked in another form."
        )
    if not given.probes and not reasons:
        reasons.append("There was nothing to ask, so nothing is known about this version.")
    return reasons


def _form(given: GateInput) -> list[str]:
    """Answers that are missing, empty or endless where the parent's were not."""
    failed, empty, endless = [], [], []
    num_protected_odd = 0
    num_protected = sum(probe.group == "protected" for probe in given.probes)
    for probe in given.probes:
        now, before = given.candidate.get(probe.probe_id), given.parent.get(probe.probe_id)
        parent_ended = before is not None and before.error is None and before.stop_reason == "stop"
        if now is None or now.error is not None:
            failed.append(f"{_quote(probe.question)} ({now.error if now is not None else 'not asked'})")
        elif now.stop_reason == "stop" and not now.text.strip():
            if probe.group == "target" or (parent_ended and before is not None and before.text.strip()):
                empty.append(_quote(probe.question))
                num_protected_odd += probe.group == "protected"
        elif now.stop_reason != "stop" and (parent_ended or probe.group == "target"):
            endless.append(_quote(probe.question))
            num_protected_odd += probe.group == "protected"
    if num_protected_odd == len(empty) + len(endless) <= int(given.limits.max_form_loss * num_protected):
        # They are wrong answers and count as such; what a lost stop token does is never only this few.
        empty, endless = [], []
    return [
        *_listed(failed, "The new version failed to answer {n}: {list}."),
        *_listed(empty, "The new version answers nothing to {n}: {list}."),
        *_listed(endless, "The new version does not end its answer to {n}: {list}."),
    ]


def _targets(given: GateInput, targets: Sequence[Probe], scores: dict[str, Any]) -> list[str]:
    limits, reasons = given.limits, []
    right = {probe.probe_id: _is_right_now(given, probe) for probe in targets}
    own = [probe for probe in targets if probe.place == "recorded"]
    elsewhere = [probe for probe in targets if probe.place != "recorded"]
    own_score = _share([right[probe.probe_id] for probe in own])
    elsewhere_score = _share([right[probe.probe_id] for probe in elsewhere])
    scores.update(
        target_score=own_score,
        num_targets=len(own),
        num_targets_right=sum(right[probe.probe_id] for probe in own),
        elsewhere_score=elsewhere_score,
        num_elsewhere=len(elsewhere),
        examples={probe.example_id: right[probe.probe_id] for probe in own if probe.example_id},
    )
    if own_score is not None and own_score < limits.min_target_score:
        wrong = [_correction(given, probe) for probe in own if not right[probe.probe_id]]
        reasons.extend(wrong[:MAX_NAMED])
        reasons.append(
            f"{len(own) - len(wrong)} of {len(own)} corrections are right now; "
            f"{limits.min_target_score:.0%} must be."
        )
    if elsewhere_score is not None and elsewhere_score < limits.min_elsewhere_score:
        reasons.append(
            f"Only {elsewhere_score:.0%} of the corrections hold inside another conversation or without "
            f"their context; {limits.min_elsewhere_score:.0%} must."
        )
    return reasons


def _protected(given: GateInput, protected: Sequence[Probe], scores: dict[str, Any]) -> list[str]:
    limits, reasons = given.limits, []
    by_skill: dict[str, list[Probe]] = defaultdict(list)
    for probe in protected:
        by_skill[probe.skill].append(probe)
    before = {probe.probe_id: _was_right(given, probe) for probe in protected}
    now = {probe.probe_id: _is_right_now(given, probe) for probe in protected}
    num_before, num_now = sum(before.values()), sum(now.values())
    ratio = num_now / num_before if num_before else None
    lost = [probe for probe in protected if before[probe.probe_id] and not now[probe.probe_id]]
    skills = {
        skill: {
            "num": len(probes),
            "before": sum(before[probe.probe_id] for probe in probes),
            "now": sum(now[probe.probe_id] for probe in probes),
        }
        for skill, probes in sorted(by_skill.items())
    }
    scores.update(
        protected_ratio=ratio, num_protected=len(protected), protected_before=num_before,
        protected_now=num_now, num_lost=len(lost), skills=skills,
    )  # fmt: skip
    if ratio is not None and ratio < limits.min_protected_ratio:
        reasons.append(
            f"{num_now} of {len(protected)} protected prompts are right now, {num_before} were before: "
            f"{ratio:.1%}, at least {limits.min_protected_ratio:.1%} is asked."
        )
    for skill, counts in skills.items():
        fallen = counts["before"] - counts["now"]
        if fallen > max(1, int(limits.max_skill_loss * counts["before"])):
            reasons.append(
                f"The skill “{skill}” fell from {counts['before']} to {counts['now']} of {counts['num']}."
            )
    if given.base is not None:
        reasons.extend(_against_base(given, protected, scores))
    if reasons:
        reasons.extend(_lost(given, probe) for probe in lost[:MAX_NAMED])
    return reasons


def _against_base(given: GateInput, protected: Sequence[Probe], scores: dict[str, Any]) -> list[str]:
    """Against the base, over its own skills: earlier corrections must not hide what they cost.

    Where no right answer is known, it is the base's here: many small moves away from it add up.
    """
    base = given.base or {}
    known = [probe for probe in protected if probe.example_id is None and probe.probe_id in base]

    def num_right(answers: Answers) -> int:
        return sum(score(probe, answers.get(probe.probe_id), parent=base[probe.probe_id]) for probe in known)

    num_base = num_right(base)
    if not num_base:
        return []
    ratio = num_right(given.candidate) / num_base
    scores["base_ratio"] = ratio
    if ratio >= given.limits.min_base_ratio:
        return []
    return [
        f"Against the base model only {ratio:.0%} of the protected prompts are still right; "
        f"{given.limits.min_base_ratio:.0%} must be."
    ]


def _is_right_now(given: GateInput, probe: Probe) -> bool:
    return score(probe, given.candidate.get(probe.probe_id), parent=given.parent.get(probe.probe_id))


def _was_right(given: GateInput, probe: Probe) -> bool:
    answer = given.parent.get(probe.probe_id)
    return score(probe, answer, parent=answer)


def _correction(given: GateInput, probe: Probe) -> str:
    answer = given.candidate.get(probe.probe_id, ProbeAnswer(error="not asked"))
    return f"{_quote(probe.question)} should be {_quote(probe.answer or '')} and is {_said(answer)}."


def _lost(given: GateInput, probe: Probe) -> str:
    answer = given.candidate.get(probe.probe_id, ProbeAnswer(error="not asked"))
    return f"{_quote(probe.question)} was right before and is now {_said(answer)}."


def _said(answer: ProbeAnswer) -> str:
    if answer.error is not None:
        return f"not answered ({answer.error})"
    return _quote(answer.text) if answer.text.strip() else "empty"


def _quote(text: str) -> str:
    line = " ".join(text.split())
    return f"“{line if len(line) <= 80 else line[:77] + '…'}”"


def _listed(items: Sequence[str], sentence: str) -> list[str]:
    if not items:
        return []
    distinct = list(dict.fromkeys(items))
    named = ", ".join(distinct[:MAX_NAMED]) + (" and more" if len(distinct) > MAX_NAMED else "")
    return [sentence.format(n=f"{len(items)} prompt{'s' if len(items) > 1 else ''}", list=named)]


def _share(rights: Sequence[bool]) -> float | None:
    return sum(rights) / len(rights) if rights else None
