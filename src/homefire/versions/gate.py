"""The gate: may this version become `live`? A pure decision over answers that were collected elsewhere.

Four figures decide, each with a stated limit (`Limits`):

- **efficacy**: which corrections are right as they were given, and inside other conversations. Each is judged by
  itself: one that was not learned is left out of the version and does not hold up the others; a version that learned
  none is held back.
- **generality**: variants of the corrected questions that were not trained on (`variants.py`), right.
- **locality**: questions beside them that nobody corrected (`neighbours.py`), answered as the base answers them.
- **old skills**: protected prompts and earlier corrections, right where they were right before. Of earlier corrections
  one may be lost in a version; it is named, so that it is taught again.

Chance must not decide. Generality and locality fall below their limit only where so few right answers would be seen
in fewer than one of a hundred versions that keep the limit. A skill is lost with three of its answers, or with all of
several. An answer that the base gives with a lead of less than `FRAGILE_LEAD` somewhere is protected by nobody.
An answer that was wrong before is protected by nobody, either, but what replaces it must be text and nothing that was
taught. A model of which too little can be protected is held back: nobody could tell what teaching did to it.

What right means is `agreement.py`; which corrections are to blame, `blame.py`. Reasons are sentences for a person and
quote the base's own prompts, never what anybody taught. Nothing is asked, read or written here.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from homefire.versions.evidence import NO_ANSWER, GateInput, Probe, Seen, is_fragile, quote

MAX_NAMED = 8
"""So many single failures a verdict names; the rest is a number."""
CHANCE = 0.01
"""How often a version that keeps a limit may look as if it did not."""
MIN_LOST = 3
"""Fewer lost answers are not told from chance."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The decision; `reasons` is empty when it passed. `scores` is JSON-able.

    A version that passed knows the corrections of `learned`; those of `unlearned` it does not, and nothing it did
    otherwise speaks against it. `lost_earlier` are earlier corrections to be taught again.
    """

    passed: bool
    reasons: tuple[str, ...]
    scores: dict[str, Any]
    learned: tuple[str, ...] = ()
    unlearned: tuple[str, ...] = ()
    lost_earlier: tuple[str, ...] = ()


def judge(given: GateInput) -> Verdict:
    """Decide. Never raises on what a model did; the same input gives the same verdict."""
    broken = _broken(given)
    if broken:
        return Verdict(passed=False, reasons=tuple(broken), scores={})
    seen = Seen(given)
    scores: dict[str, Any] = {}
    efficacy, learned, unlearned = _efficacy(seen, scores)
    earlier, lost_earlier = _earlier(seen, scores)
    reasons = [
        *_form(seen),
        *efficacy,
        *_generality(seen, learned, scores),
        *_locality(seen, scores),
        *_protected(seen, scores),
        *earlier,
    ]
    scores["num_unasked"] = len(given.unasked)
    return Verdict(
        passed=not reasons,
        reasons=tuple(reasons),
        scores=scores,
        learned=learned,
        unlearned=unlearned,
        lost_earlier=lost_earlier,
    )


def is_clearly_below(num_right: int, num: int, *, limit: float) -> bool:
    """Whether a model that is right with probability `limit` would have so few right answers (or fewer) with a
    probability of less than `CHANCE` (one-sided binomial test)."""
    if not num or num_right >= limit * num:
        return False
    tail = sum(math.comb(num, k) * limit**k * (1 - limit) ** (num - k) for k in range(num_right + 1))
    return tail < CHANCE


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


def _form(seen: Seen) -> list[str]:
    """Answers that are missing, empty or endless where the parent's were not. A correction's is just not learned."""
    failed, empty, endless = [], [], []
    protected = seen.of("protected", "earlier")
    for probe in seen.given.probes:
        if not seen.is_asked(probe):
            continue
        now, before = seen.answer(probe), seen.given.parent.get(probe.probe_id, NO_ANSWER)
        parent_ended = before.error is None and before.stop_reason == "stop"
        if now.error is not None:
            failed.append(f"{_named(probe)} ({now.error})")
        elif probe.group not in ("protected", "earlier") or not parent_ended:
            continue
        elif now.stop_reason != "stop":
            endless.append(_named(probe))
        elif not now.text.strip() and before.text.strip():
            empty.append(_named(probe))
    if len(empty) + len(endless) <= max(1, int(seen.limits.max_form_loss * len(protected))):
        # They are wrong answers and count as such; what a lost stop token does is never only this few.
        empty, endless = [], []
    return [
        *_listed(failed, "The new version failed to answer {n}: {list}."),
        *_listed(empty, "The new version answers nothing to {n}: {list}."),
        *_listed(endless, "The new version does not end its answer to {n}: {list}."),
    ]


def _efficacy(seen: Seen, scores: dict[str, Any]) -> tuple[list[str], tuple[str, ...], tuple[str, ...]]:
    """Reasons, and the corrections that were and were not learned."""
    own = [probe for probe in seen.of("target") if probe.place == "recorded"]
    learned = tuple(probe.example_id or "" for probe in own if seen.is_right(probe))
    unlearned = tuple(probe.example_id or "" for probe in own if not seen.is_right(probe))
    elsewhere = [
        probe
        for probe in seen.of("target")
        if probe.place != "recorded" and (probe.example_id or "") not in unlearned
    ]
    scores["target_score"] = len(learned) / len(own) if own else None
    scores["num_targets"], scores["num_targets_right"] = len(own), len(learned)
    scores["num_elsewhere"], scores["elsewhere_right"] = _figures(seen, elsewhere)
    reasons = []
    if own and not learned:
        reasons.append(
            "The correction was not learned."
            if len(own) == 1
            else f"None of the {len(own)} corrections was learned."
        )
    num_right = sum(map(seen.is_right, elsewhere))
    if elsewhere and num_right < seen.limits.min_elsewhere_score * len(elsewhere):
        reasons.append(
            f"Only {num_right} of {len(elsewhere)} answers hold inside another conversation or without their "
            f"context; {seen.limits.min_elsewhere_score:.0%} must."
        )
    return reasons, learned, unlearned


def _generality(seen: Seen, learned: Sequence[str], scores: dict[str, Any]) -> list[str]:
    variants = [probe for probe in seen.of("variant") if probe.example_id in set(learned)]
    scores["num_variants"], scores["variants_right"] = _figures(seen, variants)
    return _limit(
        seen,
        variants,
        limit=seen.limits.min_generality,
        sentence="Asked in other words, {right} of {num} questions get the taught answer; {limit:.0%} must.",
    )


def _locality(seen: Seen, scores: dict[str, Any]) -> list[str]:
    neighbours = [probe for probe in seen.of("neighbour") if seen.was_right(probe)]
    scores["num_neighbours"], scores["neighbours_kept"] = _figures(seen, neighbours)
    leaked = [probe for probe in neighbours if seen.is_asked(probe) and seen.teacher_of(seen.answer(probe))]
    scores["num_leaked"] = len(leaked)
    return _limit(
        seen,
        neighbours,
        limit=seen.limits.min_locality,
        sentence="Of {num} similar questions that nobody corrected, {right} are answered as before; {limit:.0%} must be"
        + (f" ({len(leaked)} get a taught answer)." if leaked else "."),
    )


def _limit(seen: Seen, probes: Sequence[Probe], *, limit: float, sentence: str) -> list[str]:
    num_right = sum(map(seen.is_right, probes))
    if not is_clearly_below(num_right, len(probes), limit=limit):
        return []
    num, right = _figures(seen, probes)
    return [sentence.format(num=num, right=right, limit=limit)]


def _protected(seen: Seen, scores: dict[str, Any]) -> list[str]:
    limits, protected = seen.limits, seen.of("protected")
    kept = [probe for probe in protected if seen.was_right(probe)]
    lost = seen.lost("protected")
    ratio = 1 - len(lost) / len(kept) if kept else None
    skills = _skills(seen, protected)
    num_asked, num_now = _figures(seen, kept)
    scores["num_protected"] = len(protected)
    scores["protected_before"], scores["protected_now"] = num_asked, num_now
    scores["protected_ratio"] = num_now / num_asked if num_asked else None
    scores.update(num_lost=len(lost), skills=skills)
    reasons = _too_little(seen, protected)
    if ratio is not None and ratio < limits.min_protected_ratio and _is_more_than_chance(lost, kept):
        reasons.append(
            f"{len(lost)} of {len(kept)} answers that were right before are lost: {ratio:.1%} are kept, at least "
            f"{limits.min_protected_ratio:.1%} must be."
        )
    for skill, counts in skills.items():
        fallen = counts["before"] - counts["now"]
        is_lost = fallen >= 2 and (fallen == counts["before"] or fallen >= MIN_LOST)
        if is_lost and fallen > limits.max_skill_loss * counts["before"]:
            reasons.append(
                f"The skill “{skill}” fell from {counts['before']} to {counts['now']} of {counts['num']}."
            )
    if seen.given.base is not None:
        reasons.extend(_against_base(seen, protected, scores))
    if reasons:
        reasons.extend(_lost(seen, probe) for probe in lost[:MAX_NAMED])
    return reasons


def _too_little(seen: Seen, protected: Sequence[Probe]) -> list[str]:
    """Whether anything can be said about what teaching does to this model."""
    num = sum(seen.was_right(probe) for probe in [*protected, *seen.of("neighbour")])
    if num >= min(seen.limits.min_protectable, len(protected)) and num:
        return []
    return [
        f"Of what this model answered before, {num} answers are whole sentences that could be protected: what teaching "
        "does to it cannot be told. It may never have been trained."
    ]


def _is_more_than_chance(lost: Sequence[Probe], kept: Sequence[Probe]) -> bool:
    return len(lost) >= MIN_LOST or len(lost) == len(kept)


def _skills(seen: Seen, protected: Iterable[Probe]) -> dict[str, dict[str, int]]:
    by_skill: dict[str, list[Probe]] = defaultdict(list)
    for probe in protected:
        by_skill[probe.skill].append(probe)
    return {
        skill: {
            "num": len(probes),
            "before": sum(map(seen.was_right, probes)),
            "now": sum(seen.was_right(probe) and seen.is_right(probe) for probe in probes),
        }
        for skill, probes in sorted(by_skill.items())
    }


def _against_base(seen: Seen, protected: Sequence[Probe], scores: dict[str, Any]) -> list[str]:
    """Against the base, over its own skills: earlier corrections must not hide what they cost."""
    known = [
        probe
        for probe in protected
        if (answer := seen.base_answer(probe)).has_ended
        and not is_fragile(answer)
        and seen.against(probe, answer, answer)
    ]
    if not known:
        return []
    lost = [
        probe
        for probe in known
        if seen.is_asked(probe) and not seen.against(probe, seen.answer(probe), seen.base_answer(probe))
    ]
    ratio = scores["base_ratio"] = 1 - len(lost) / len(known)
    if ratio >= seen.limits.min_base_ratio or not _is_more_than_chance(lost, known):
        return []
    return [
        f"Against the base model only {ratio:.0%} of the protected prompts are still right; "
        f"{seen.limits.min_base_ratio:.0%} must be."
    ]


def _earlier(seen: Seen, scores: dict[str, Any]) -> tuple[list[str], tuple[str, ...]]:
    """Reasons, and the earlier corrections that were lost."""
    known = [probe for probe in seen.of("earlier") if seen.was_right(probe)]
    lost = seen.lost("earlier")
    scores["earlier_before"], scores["earlier_now"] = _figures(seen, known)
    names = tuple(probe.example_id or "" for probe in lost)
    if len(lost) <= seen.limits.max_earlier_lost:
        return [], names
    return [
        f"{len(lost)} earlier corrections are lost; at most {seen.limits.max_earlier_lost} may be."
    ], names


def _figures(seen: Seen, probes: Sequence[Probe]) -> tuple[int, int]:
    """How many were asked, and how many of those are right."""
    asked = [probe for probe in probes if seen.is_asked(probe)]
    return len(asked), sum(map(seen.is_right, asked))


def _lost(seen: Seen, probe: Probe) -> str:
    """A sentence about a protected prompt; what somebody taught is not quoted."""
    answer = seen.answer(probe)
    if answer.error is not None:
        said = f"is not answered now ({answer.error})"
    elif seen.teacher_of(answer) is not None:
        said = "gets a taught answer now"
    else:
        said = f"is now {quote(answer.text)}" if answer.text.strip() else "is now empty"
    return f"{quote(probe.question)} was right before and {said}."


def _named(probe: Probe) -> str:
    """A probe for a list: the base's own are quoted, what somebody taught is not."""
    return quote(probe.question) if probe.group == "protected" else "a correction"


def _listed(items: Sequence[str], sentence: str) -> list[str]:
    if not items:
        return []
    distinct = Counter(items)
    named = ", ".join(list(distinct)[:MAX_NAMED]) + (" and more" if len(distinct) > MAX_NAMED else "")
    return [sentence.format(n=f"{len(items)} prompt{'s' if len(items) > 1 else ''}", list=named)]
