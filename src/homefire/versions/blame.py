"""Which corrections a version that was held back is held back for, and what each of its corrections came to.

A correction is to blame where the evidence points at it and at no other:

- `not_learned`: its own question is not answered with it;
- `spreads`: its answer, word for word, is now given to protected prompts, earlier corrections or questions beside it,
  or most of the questions beside it changed;
- `contradicts`: what is lost is asked in nearly its words (at least `SAME_FORM` of the pairs of neighbouring letters
  in common), and no other correction's question is as near.

Where nothing is evident nobody is blamed; the set is then split (`training/next_runs.py`). Pure; costs one comparison
of two questions per correction and lost prompt. The sentences are for the one who gave the correction, and quote
nothing that another person taught.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from homefire.versions.agreement import similarity
from homefire.versions.evidence import GateInput, Probe, Seen, quote
from homefire.versions.gate import Verdict

Cause = Literal["not_learned", "spreads", "contradicts"]
SAME_FORM = 0.5
CLEARLY_NEARER = 0.1
"""The nearest correction must be nearer than the next one by so much."""
MIN_SPREAD = 2
"""So many neighbours of one correction must have changed, and most of them, before it is blamed for that."""


class CorrectionResult(msgspec.Struct, frozen=True, kw_only=True):
    """What one correction came to in one version. `cause` is None where nothing speaks against it."""

    right: bool
    cause: Cause | None = None
    why: str = ""
    variants: tuple[int, int] = (0, 0)
    """Right ones, and how many were asked."""
    neighbours: tuple[int, int] = (0, 0)
    """Those answered as before, and how many were asked."""


def results_of(
    given: GateInput, verdict: Verdict, *, num_steps: int | None = None
) -> dict[str, CorrectionResult]:
    """Every new correction's result by its id; none where the version could not be asked anything."""
    if not verdict.scores:
        return {}
    seen = Seen(given)
    own = {
        probe.example_id: probe
        for probe in seen.of("target")
        if probe.place == "recorded" and probe.example_id is not None
    }
    found = {} if verdict.passed else {**_contradicting(seen, own), **_spreading(seen, own)}
    for name in verdict.unlearned:
        if name in own:
            found[name] = ("not_learned", _not_learned(seen, own[name], num_steps))
    return {
        name: CorrectionResult(
            right=name in verdict.learned,
            cause=found[name][0] if name in found else None,
            why=found[name][1] if name in found else "",
            variants=_counts(seen, [probe for probe in seen.of("variant") if probe.example_id == name]),
            neighbours=_counts(
                seen,
                [
                    probe
                    for probe in seen.of("neighbour")
                    if probe.example_id == name and seen.was_right(probe)
                ],
            ),
        )
        for name in own
    }


def as_scores(results: dict[str, CorrectionResult]) -> dict[str, Any]:
    """For the log."""
    encoded: dict[str, Any] = msgspec.to_builtins(results)
    return encoded


Blame = dict[str, tuple[Cause, str]]


def _spreading(seen: Seen, own: dict[str, Probe]) -> Blame:
    """Corrections whose answer is given to other questions, or whose neighbourhood changed."""
    spread: dict[str, list[Probe]] = defaultdict(list)
    for probe in seen.lost("protected", "earlier", "neighbour"):
        teacher = seen.teacher_of(seen.answer(probe))
        if teacher in own and teacher is not None:
            spread[teacher].append(probe)
    blamed: Blame = {}
    for name in own:
        beside = [
            probe for probe in seen.of("neighbour") if probe.example_id == name and seen.was_right(probe)
        ]
        lost = [
            probe
            for probe in beside
            if not seen.is_right(probe) and seen.teacher_of(seen.answer(probe)) in (None, name)
        ]
        if len(spread[name]) >= MIN_SPREAD or any(probe.group == "protected" for probe in spread[name]):
            where = _where(spread[name], name)
            blamed[name] = ("spreads", f"Its answer is then given to other questions, too: {where}.")
        elif len(lost) >= MIN_SPREAD and 2 * len(lost) > len(beside):
            blamed[name] = (
                "spreads",
                f"{len(lost)} of {len(beside)} similar questions that nobody corrected are then answered otherwise.",
            )
    return blamed


def _contradicting(seen: Seen, own: dict[str, Probe]) -> Blame:
    """Corrections that are asked like what is lost."""
    blamed: dict[str, Counter[str]] = defaultdict(Counter)
    for probe in seen.lost("protected", "earlier"):
        if seen.teacher_of(seen.answer(probe)) in own:
            continue  # that one is to blame
        near = sorted(
            ((similarity(probe.question, each.question), name) for name, each in own.items()), reverse=True
        )
        if near and near[0][0] >= SAME_FORM and (len(near) == 1 or near[0][0] - near[1][0] >= CLEARLY_NEARER):
            blamed[near[0][1]][_what(probe)] += 1
    return {name: ("contradicts", f"It contradicts {_most(counts)}.") for name, counts in blamed.items()}


def _not_learned(seen: Seen, probe: Probe, num_steps: int | None) -> str:
    answer = seen.answer(probe)
    teacher = seen.teacher_of(answer)
    if answer.error is not None:
        said = f"it could not be asked ({answer.error})"
    elif teacher is not None and teacher != probe.example_id:
        said = "it is answered with another correction's answer"
    elif answer.stop_reason != "stop":
        said = "its answer does not end"
    else:
        said = f"it is answered {quote(answer.text)}" if answer.text.strip() else "it gets an empty answer"
    after = f" after {num_steps} steps" if num_steps else ""
    return f"It was not learned{after}: {said}."


def _what(probe: Probe) -> str:
    return "an earlier correction" if probe.group == "earlier" else f"what it knew of “{probe.skill}”"


def _most(counts: Counter[str]) -> str:
    return " and ".join(name for name, _ in counts.most_common(2))


def _where(probes: Sequence[Probe], name: str) -> str:
    """The base's own prompts and what was made from this correction are quoted; what others taught is not."""
    quoted = [quote(probe.question) for probe in probes if probe.group == "protected" or _is_of(probe, name)][
        :2
    ]
    if any(probe.group == "earlier" for probe in probes):
        quoted.append("earlier corrections")
    return ", ".join(quoted) or "some that are like other corrections"


def _is_of(probe: Probe, name: str) -> bool:
    return probe.group == "neighbour" and probe.example_id == name


def _counts(seen: Seen, probes: Sequence[Probe]) -> tuple[int, int]:
    asked = [probe for probe in probes if seen.is_asked(probe)]
    return sum(map(seen.is_right, asked)), len(asked)
