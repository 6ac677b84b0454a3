"""Which questions decide about a version, and in which order they are asked.

The questions are the new corrections (each in its own context; its last question alone where it had more context
than that, and inside a short conversation about something else), variants of them and neighbours beside them
(`variants.py`), the base's `probes.jsonl`, and what was learned earlier. A protected question that a correction answers
is replaced by it.

How many there are is bounded whatever was ever taught: each new correction is asked once as it was given; of
everything else a sample is taken, by a seed that names the run. They are in an order of informativeness (`stages`),
so that a refusal is known early. Pure, except that a base's questions are read from its folder.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, Protocol, TypeVar

import msgspec

from homefire.errors import BadModel
from homefire.types import Message
from homefire.versions.agreement import normalise
from homefire.versions.evidence import Place, Probe
from homefire.versions.general_prompts import GENERAL_PROMPTS, SMALL_TALK
from homefire.versions.variants import neighbours, variants

PROBES_FILE = "probes.jsonl"
MAX_PROTECTED = 320
"""So many protected questions at most, taken evenly from the skills, in file order."""
MAX_EARLIER = 100
MAX_ELSEWHERE = 100
MAX_VARIANTS = 60
MAX_NEIGHBOURS = 60
MAX_PER_CORRECTION = 6
"""Variants and neighbours of one correction: all of them where few corrections are new, at least one where many are."""
FIRST_OF_SKILL = 2
"""So many protected questions of each skill are asked before the others."""


class Taught(Protocol):
    """What is needed of an example: `ExampleRow` has it."""

    @property
    def example_id(self) -> str: ...
    @property
    def messages(self) -> Sequence[Message]: ...


class _SidecarRow(msgspec.Struct, frozen=True):
    skill: str
    messages: tuple[Message, ...]
    answer: str
    id: str = ""


def load_probes(folder: Path) -> tuple[Probe, ...]:
    """The protected questions of a base model: its `probes.jsonl`, or the general ones when it has none.

    Raises BadModel when a line is broken; the message names it.
    """
    path = folder / PROBES_FILE
    if not path.exists():
        return general_probes()
    found = []
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = msgspec.json.decode(line, type=_SidecarRow)
        except msgspec.MsgspecError as problem:
            raise BadModel(
                f"Line {number} of {PROBES_FILE} is not a probe: {problem}.", path=str(path)
            ) from problem
        if not row.messages:
            raise BadModel(f"Line {number} of {PROBES_FILE} asks nothing.", path=str(path))
        found.append(
            Probe(
                probe_id=f"base-{number:04d}",
                group="protected",
                skill=row.skill,
                messages=row.messages,
                answer=row.answer,
            )
        )
    return tuple(found)


def general_probes() -> tuple[Probe, ...]:
    """The questions for a model of which nothing is known."""
    return tuple(
        Probe(
            probe_id=f"general-{number:02d}",
            group="protected",
            skill=known.skill,
            messages=(Message("user", known.prompt),),
            accepts=known.accepts,
            rejects=known.rejects,
        )
        for number, known in enumerate(GENERAL_PROMPTS, start=1)
    )


def build_probes(
    targets: Sequence[Taught], *, earlier: Sequence[Taught], protected: Sequence[Probe], seed: str = ""
) -> tuple[Probe, ...]:
    """All questions of one gate. `targets` and `earlier` are not superseded; the newest come last."""
    own = [_own_probe(target) for target in targets]
    answered = {_question_key(probe.messages) for probe in own}
    taught = {target.example_id for target in targets}
    known = [
        probe
        for example in earlier
        if example.example_id not in taught
        and _question_key((probe := _earlier_probe(example)).messages) not in answered
    ]
    answered |= {_question_key(probe.messages) for probe in known}
    kept = [probe for probe in protected if _question_key(probe.messages) not in answered]
    elsewhere = [probe for target in targets for probe in _elsewhere_probes(target)]
    answered |= {_question_key(probe.messages) for probe in kept}
    return (
        *own,
        *_sample(elsewhere, MAX_ELSEWHERE, f"{seed}:elsewhere"),
        *_made_probes(targets, "variant", variants, MAX_VARIANTS, answered, seed),
        *_made_probes(targets, "neighbour", neighbours, MAX_NEIGHBOURS, answered, seed),
        *_evenly(kept, MAX_PROTECTED),
        *_sample(known, MAX_EARLIER, f"{seed}:earlier"),
    )


def stages(probes: Sequence[Probe]) -> list[list[Probe]]:
    """The probes in the order to ask them: what refuses most often for the fewest questions comes first."""
    asked_of: Counter[str] = Counter()
    first: set[str] = set()
    for probe in probes:
        if probe.group == "protected" and asked_of[probe.skill] < FIRST_OF_SKILL:
            asked_of[probe.skill] += 1
            first.add(probe.probe_id)
    order: list[list[Probe]] = [[], [], [], []]
    for probe in probes:
        if probe.group == "target" and probe.place == "recorded":
            order[0].append(probe)
        elif probe.probe_id in first or probe.group == "earlier":
            order[1].append(probe)
        else:
            order[3 if probe.group == "protected" else 2].append(probe)
    return [stage for stage in order if stage]


def _own_probe(target: Taught) -> Probe:
    return _taught_probe(target, tuple(target.messages[:-1]), place="recorded")


def _elsewhere_probes(target: Taught) -> list[Probe]:
    """Its last question alone, where it had a context, and inside another conversation."""
    *context, _ = target.messages
    system = [message for message in context if message.role == "system"][:1]
    question = context[-1]
    talk = [Message("user", SMALL_TALK[0]), Message("assistant", SMALL_TALK[1])]
    in_chat = _taught_probe(target, (*system, *talk, question), place="in_chat")
    if context == [*system, question]:
        return [in_chat]
    return [_taught_probe(target, (*system, question), place="alone"), in_chat]


def _taught_probe(target: Taught, messages: tuple[Message, ...], *, place: Place) -> Probe:
    return Probe(
        probe_id=f"new-{target.example_id}-{place}",
        group="target",
        skill="new corrections",
        messages=messages,
        answer=target.messages[-1].text,
        place=place,
        example_id=target.example_id,
    )


def _earlier_probe(example: Taught) -> Probe:
    return Probe(
        probe_id=f"earlier-{example.example_id}",
        group="earlier",
        skill="earlier corrections",
        messages=tuple(example.messages[:-1]),
        answer=example.messages[-1].text,
        example_id=example.example_id,
    )


def _made_probes(
    targets: Sequence[Taught],
    group: Literal["variant", "neighbour"],
    make: Callable[[str, int], list[str]],
    limit: int,
    answered: set[tuple[str, ...]],
    seed: str,
) -> list[Probe]:
    """Questions made from those of the corrections, without what is asked anyway. A question whose sense lies in an
    earlier exchange has none."""
    per_correction = min(MAX_PER_CORRECTION, max(1, limit // max(1, len(targets))))
    found: list[Probe] = []
    for target in _sample(targets, limit, f"{seed}:{group}"):
        *before, question = target.messages[:-1]
        if any(message.role != "system" for message in before) or not isinstance(question.content, str):
            continue
        for number, text in enumerate(make(question.text, per_correction)):
            messages = (*before, Message("user", text))
            if _question_key(messages) in answered:
                continue
            probe = Probe(
                probe_id=f"{group}-{target.example_id}-{number}",
                group=group,
                skill=f"{group}s",
                messages=messages,
                answer=target.messages[-1].text if group == "variant" else None,
                example_id=target.example_id,
            )
            found.append(probe)
    return found


T = TypeVar("T")


def _sample(items: Sequence[T], limit: int, seed: str) -> list[T]:
    """At most so many, drawn by the seed, in their order."""
    if len(items) <= limit:
        return list(items)
    chosen = set(random.Random(seed).sample(range(len(items)), limit))
    return [item for place, item in enumerate(items) if place in chosen]


def _question_key(messages: Sequence[Message]) -> tuple[str, ...]:
    """Two questions are one when their conversations are, white space and system messages aside."""
    return tuple(
        f"{message.role}:{normalise(message.text)}"
        if isinstance(message.content, str)
        else msgspec.json.encode(message, order="deterministic").decode()
        for message in messages
        if message.role != "system"
    )


def _evenly(probes: Sequence[Probe], limit: int) -> list[Probe]:
    if len(probes) <= limit:
        return list(probes)
    by_skill: dict[str, list[Probe]] = defaultdict(list)
    for probe in probes:
        by_skill[probe.skill].append(probe)
    chosen: set[str] = set()
    for rank in range(len(probes)):
        for group in by_skill.values():
            if rank < len(group) and len(chosen) < limit:
                chosen.add(group[rank].probe_id)
        if len(chosen) == limit:
            break
    return [probe for probe in probes if probe.probe_id in chosen]
