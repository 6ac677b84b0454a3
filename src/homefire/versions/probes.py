"""Asking models: which questions decide about a version, and what models answer to them.

The questions are the new corrections (each in its own context, its last question alone where it had more
context than that, and inside a short conversation about something else), the base's `probes.jsonl`, and
every correction learned earlier. A protected question that a new correction answers is replaced by it. The
asking is greedy, a few at a time, on an engine of the gate's own, so that no chat waits for it; a model's
answers are kept by the hash of its weights, so that a parent is asked each question once.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Protocol

import msgspec

from homefire.engines.base import Delta, Engine, EngineRequest, Finish, Generated, ModelSpec
from homefire.errors import BadModel, ContextOverflow, EngineError, HomefireError
from homefire.types import Message, Sampling
from homefire.versions.agreement import normalise
from homefire.versions.gate import Place, Probe, ProbeAnswer
from homefire.versions.general_prompts import GENERAL_PROMPTS, SMALL_TALK
from homefire.versions.manifest import canonical_json

PROBES_FILE = "probes.jsonl"
MAX_PROTECTED = 360
"""So many protected questions at most, taken evenly from the skills, in file order."""
MAX_EARLIER = 200
"""So many earlier corrections at most, the newest."""
NUM_ATTEMPTS = 2
"""An engine that crashed is asked once more; what it then fails counts as failed."""


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


OnAnswer = Callable[[int, int], None]
"""Called with (answered, to be answered)."""


def load_probes(folder: Path) -> tuple[Probe, ...]:
    """The protected questions of a base model: its `probes.jsonl`, or the general ones when it has none.

    Raises BadModel when a line is broken; the message names it.
    """
    path = folder / PROBES_FILE
    if not path.exists():
        return tuple(
            Probe(
                probe_id=f"general-{number:02d}",
                group="protected",
                skill=skill,
                messages=(Message("user", prompt),),
            )
            for number, (skill, prompt) in enumerate(GENERAL_PROMPTS, start=1)
        )
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


def build_probes(
    targets: Sequence[Taught], *, earlier: Sequence[Taught], protected: Sequence[Probe]
) -> tuple[Probe, ...]:
    """All questions of one gate. `targets` and `earlier` are not superseded; the newest come last."""
    new = [probe for target in targets for probe in _target_probes(target)]
    answered = {_question_key(probe.messages) for probe in new}
    taught = {target.example_id for target in targets}
    kept = [probe for probe in protected if _question_key(probe.messages) not in answered]
    known = [
        Probe(
            probe_id=f"earlier-{example.example_id}",
            group="protected",
            skill="earlier corrections",
            messages=tuple(example.messages[:-1]),
            answer=example.messages[-1].text,
            example_id=example.example_id,
        )
        for example in earlier[-MAX_EARLIER:]
        if example.example_id not in taught and _question_key(example.messages[:-1]) not in answered
    ]
    earlier_keys = {_question_key(probe.messages) for probe in known}
    kept = [probe for probe in kept if _question_key(probe.messages) not in earlier_keys]
    return (*new, *_evenly(kept, MAX_PROTECTED), *known)


async def ask(
    engine: Engine,
    probes: Sequence[Probe],
    *,
    max_tokens: int,
    num_parallel: int = 4,
    on_answer: OnAnswer | None = None,
) -> dict[str, ProbeAnswer]:
    """Every probe's answer by its id. Engine failures are answers with `error`, never exceptions."""
    answers: dict[str, ProbeAnswer] = {}
    waiting = iter(probes)

    async def worker() -> None:
        for probe in waiting:
            answers[probe.probe_id] = await _ask_one(engine, probe, max_tokens=max_tokens)
            if on_answer is not None:
                on_answer(len(answers), len(probes))

    async with asyncio.TaskGroup() as group:
        for _ in range(min(num_parallel, len(probes))):
            group.create_task(worker())
    return answers


class AnswerCache:
    """What models said before, one file for each model's weights. A cache: it may be deleted at any time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def known(self, spec: ModelSpec, probes: Iterable[Probe], *, max_tokens: int) -> dict[str, ProbeAnswer]:
        """Answers this model gave before to these probes, by probe id."""
        cache = self._load(spec)
        keys = {probe.probe_id: _answer_key(probe, max_tokens) for probe in probes}
        return {probe_id: cache[key] for probe_id, key in keys.items() if key in cache}

    def keep(
        self,
        spec: ModelSpec,
        probes: Iterable[Probe],
        answers: Mapping[str, ProbeAnswer],
        *,
        max_tokens: int,
    ) -> None:
        """Remember the answers that are some (failures are asked again)."""
        cache = self._load(spec)
        for probe in probes:
            answer = answers.get(probe.probe_id)
            if answer is not None and answer.error is None:
                cache[_answer_key(probe, max_tokens)] = answer
        body = canonical_json(cache)
        path = self._path(spec)
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_suffix(".new")
        aside.write_bytes(hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
        aside.replace(path)

    def _load(self, spec: ModelSpec) -> dict[str, ProbeAnswer]:
        """The cached answers; none where there is no file or its checksum does not match."""
        path = self._path(spec)
        if not path.exists():
            return {}
        checksum, _, body = path.read_bytes().partition(b"\n")
        if checksum.decode(errors="replace") != hashlib.sha256(body).hexdigest():
            return {}
        return msgspec.json.decode(body, type=dict[str, ProbeAnswer])

    def _path(self, spec: ModelSpec) -> Path:
        weights = spec.source.identity.encode()
        return self._folder / f"{hashlib.sha256(weights).hexdigest()[:32]}.json"


def _target_probes(target: Taught) -> list[Probe]:
    *context, answer = target.messages
    system = [message for message in context if message.role == "system"][:1]
    question = context[-1]
    talk = [Message("user", SMALL_TALK[0]), Message("assistant", SMALL_TALK[1])]
    places: list[tuple[Place, list[Message]]] = [("recorded", context)]
    if context != [*system, question]:
        places.append(("alone", [*system, question]))
    places.append(("in_chat", [*system, *talk, question]))
    return [
        Probe(
            probe_id=f"new-{target.example_id}-{place}",
            group="target",
            skill="new corrections",
            messages=tuple(messages),
            answer=answer.text,
            place=place,
            example_id=target.example_id,
        )
        for place, messages in places
    ]


async def _ask_one(engine: Engine, probe: Probe, *, max_tokens: int) -> ProbeAnswer:
    budget = max(max_tokens, len((probe.answer or "").encode()) + 8)
    problem: HomefireError | None = None
    for _ in range(NUM_ATTEMPTS):
        try:
            return await _collect(engine, probe, max_tokens=budget)
        except ContextOverflow as overflow:
            limit, used = overflow.details.get("limit"), overflow.details.get("prompt_tokens")
            if not isinstance(limit, int) or not isinstance(used, int) or limit - used < 1:
                return ProbeAnswer(error=overflow.message)
            problem, budget = overflow, limit - used
        except EngineError as error:
            problem = error
    return ProbeAnswer(error=problem.message if problem is not None else "not asked")


async def _collect(engine: Engine, probe: Probe, *, max_tokens: int) -> ProbeAnswer:
    request = EngineRequest(
        messages=probe.messages,
        sampling=Sampling(max_tokens=max_tokens, temperature=0.0, seed=0),
    )
    parts: list[str] = []
    stream: AsyncIterator[Generated] = engine.generate(request)
    async with aclosing(stream) as items:  # type: ignore[type-var]
        async for item in items:
            if isinstance(item, Delta):
                parts.append(item.text)
            elif isinstance(item, Finish):
                return ProbeAnswer(text="".join(parts), stop_reason=item.stop_reason)
    return ProbeAnswer(error="the engine ended its answer without saying why")


def _question_key(messages: Sequence[Message]) -> tuple[str, ...]:
    """Two questions are one when their conversations are, white space and system messages aside."""
    return tuple(
        f"{message.role}:{normalise(message.text)}"
        if isinstance(message.content, str)
        else msgspec.json.encode(message, order="deterministic").decode()
        for message in messages
        if message.role != "system"
    )


def _answer_key(probe: Probe, max_tokens: int) -> str:
    budget = max(max_tokens, len((probe.answer or "").encode()) + 8)
    return hashlib.sha256(canonical_json([list(probe.messages), budget])).hexdigest()


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
