"""What a verdict rests on: the questions, the answers of candidate, parent and base, and what follows for each.

`Seen` says of every probe whether there was anything to keep (`was_right`) and whether it is right now (`is_right`):
the rules for one answer are here, those for a version in `gate.py`. Pure.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from homefire.types import Message, StopReason
from homefire.versions.agreement import agrees, is_right, mentions, normalise
from homefire.versions.degenerate import is_degenerate

Group = Literal["target", "variant", "neighbour", "protected", "earlier"]
Place = Literal["recorded", "alone", "in_chat"]
"""Where a correction is asked: in its own context, its last question alone, inside another conversation."""
FRAGILE_LEAD = 2.0
"""Natural-log units: where the base's next token leads the second one by less, rounding may decide the answer."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What the gate demands. The first three are settings, the others are fixed here."""

    min_generality: float = 0.6
    """Share of the variants that must be right."""
    min_locality: float = 0.9
    """Share of the neighbours that must be answered as the base answers them."""
    min_protected_ratio: float = 0.96
    """Share of what was right before that must be right now."""
    min_base_ratio: float = 0.9
    """The same against the base, so that many small losses do not add up."""
    min_elsewhere_score: float = 0.5
    """Share of `alone` and `in_chat` probes of learned corrections that must be right."""
    max_skill_loss: float = 0.15
    """Share of a skill's right answers that may go."""
    max_form_loss: float = 0.02
    """Share of protected prompts that may be answered with nothing or without end (one always may)."""
    max_earlier_lost: int = 1
    """Earlier corrections that one version may lose."""
    min_protectable: int = 5
    """Prompts that must be protectable at least (all, where a base brings fewer)."""


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """One question. `answer=None`: see `accepts`; without those, no right answer is known.

    `example_id` names the correction that a target, variant, neighbour or earlier probe is about.
    """

    probe_id: str
    group: Group
    skill: str
    messages: tuple[Message, ...]
    answer: str | None = None
    accepts: tuple[str, ...] = ()
    """An answer that mentions one of these is right, unless it mentions one of `rejects`."""
    rejects: tuple[str, ...] = ()
    place: Place = "recorded"
    example_id: str | None = None

    @property
    def question(self) -> str:
        """The last message, for people."""
        return self.messages[-1].text

    def is_met_by(self, answer: ProbeAnswer) -> bool:
        """Whether an answer mentions what is accepted, and nothing that is not."""
        return (
            answer.has_ended
            and any(mentions(answer.text, wanted) for wanted in self.accepts)
            and not any(mentions(answer.text, unwanted) for unwanted in self.rejects)
        )


class ProbeAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What a model said, or why it said nothing."""

    text: str = ""
    stop_reason: StopReason | None = None
    error: str | None = None
    lead: float | None = None
    """The smallest lead of a chosen token over the next likely one, in natural-log units; None: not known."""

    @property
    def has_ended(self) -> bool:
        """Whether it is a whole answer that says something."""
        return self.error is None and self.stop_reason == "stop" and bool(self.text.strip())


NO_ANSWER = ProbeAnswer(error="not asked")


class GateInput(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the verdict depends on.

    `parent` and `base` answer protected and earlier probes, the base also neighbours; `base=None`: it is the parent.
    `unasked`: probes that nobody asked the candidate (yet). They count as right where a limit is checked and
    in no figure, so a verdict that refuses holds whatever they would have shown.
    `obstacle` says why the candidate could not be asked at all (its file does not load, …).
    """

    probes: tuple[Probe, ...]
    candidate: dict[str, ProbeAnswer]
    parent: dict[str, ProbeAnswer]
    base: dict[str, ProbeAnswer] | None = None
    unasked: frozenset[str] = frozenset()
    obstacle: str | None = None
    non_finite: tuple[str, ...] = ()
    candidate_format: str = ""
    parent_format: str = ""
    """Fingerprints of the chat templates."""
    limits: Limits = Limits()


class Seen:
    """The answers of one gate, and what was right before and is right now. Costs one comparison per answer."""

    def __init__(self, given: GateInput) -> None:
        self.given, self.limits = given, given.limits
        self.taught = {
            normalise(probe.answer): probe.example_id
            for probe in given.probes
            if probe.group in ("earlier", "target") and probe.answer is not None
        }
        """Every answer that somebody taught, and the newest correction with it."""
        self._before = {probe.probe_id: self._was_right(probe) for probe in given.probes}
        self._now = {
            probe.probe_id: self._is_right(probe)
            for probe in given.probes
            if probe.probe_id not in given.unasked
        }

    def of(self, *groups: Group) -> list[Probe]:
        """The probes of these groups."""
        return [probe for probe in self.given.probes if probe.group in groups]

    def was_right(self, probe: Probe) -> bool:
        """Whether there is anything to keep: a right answer of the parent, a usable one of the base."""
        return self._before[probe.probe_id]

    def is_right(self, probe: Probe) -> bool:
        """Whether the candidate's answer is right; so is, for the limits, what was not asked."""
        return self._now.get(probe.probe_id, True)

    def is_asked(self, probe: Probe) -> bool:
        """Whether the candidate was asked."""
        return probe.probe_id in self._now

    def lost(self, *groups: Group) -> list[Probe]:
        """What was right before and is not any more."""
        return [probe for probe in self.of(*groups) if self.was_right(probe) and not self.is_right(probe)]

    def answer(self, probe: Probe) -> ProbeAnswer:
        """What the candidate said."""
        return self.given.candidate.get(probe.probe_id, NO_ANSWER)

    def teacher_of(self, answer: ProbeAnswer) -> str | None:
        """The correction whose answer this is, word for word."""
        return self.taught.get(normalise(answer.text)) if answer.error is None else None

    def base_answer(self, probe: Probe) -> ProbeAnswer:
        """What the base said."""
        answers = self.given.parent if self.given.base is None else self.given.base
        return answers.get(probe.probe_id, NO_ANSWER)

    def against(self, probe: Probe, answer: ProbeAnswer, reference: ProbeAnswer) -> bool:
        """Whether an answer is right; where the right one is not known, whether it may replace the reference."""
        if not answer.has_ended:
            return False
        if probe.answer is not None:
            return is_right(answer.text, probe.answer)
        if probe.group == "neighbour":
            return agrees(answer.text, reference.text)
        if probe.is_met_by(reference):
            return probe.is_met_by(answer)
        taught = self.teacher_of(answer)
        return not is_degenerate(answer.text) and (taught is None or taught == self.teacher_of(reference))

    def _was_right(self, probe: Probe) -> bool:
        if probe.group in ("target", "variant"):
            return False
        base = self.base_answer(probe)
        if probe.group == "neighbour":
            return _is_usable(base) and not is_fragile(base) and self.teacher_of(base) is None
        parent = self.given.parent.get(probe.probe_id, NO_ANSWER)
        if probe.group == "protected" and is_fragile(base):
            return False
        if probe.answer is None:
            return _is_usable(parent)
        return self.against(probe, parent, parent)

    def _is_right(self, probe: Probe) -> bool:
        reference = self.base_answer(probe)
        if probe.group != "neighbour":
            reference = self.given.parent.get(probe.probe_id, NO_ANSWER)
        return self.against(probe, self.answer(probe), reference)


def _is_usable(answer: ProbeAnswer) -> bool:
    return answer.has_ended and not is_degenerate(answer.text)


def is_fragile(answer: ProbeAnswer) -> bool:
    return answer.lead is not None and answer.lead < FRAGILE_LEAD


def quote(text: str) -> str:
    """At most 80 characters of a text, on one line, in quotes."""
    line = " ".join(text.split())
    return f"“{line if len(line) <= 80 else line[:77] + '…'}”"
