"""Erasing what was said: a conversation, one turn of it, or one message, with the corrections that repeat it.

What goes: the contents themselves; what was written of the turns (feedback, error messages); corrections whose rows
hold an erased message, every time they were taught; reasons and reports in the log that quote one. Those corrections
are withdrawn in the same transaction, so that no run learns them and none is trained for them again. Ids, times and
counts stay: the log still says that something was there, and who erased it, when and why.

What cannot go this way is named: versions that learned such a correction (`homefire corrections withdraw` makes one
that never did), files of runs, copies of the database. Blocking; costs a look at every content in the log, about 5 µs
each: call it on a thread.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from homefire.errors import Conflict, NotFound, quoted
from homefire.home import Home
from homefire.sessions.ownership import session_of, turn_of
from homefire.store.digest import encode
from homefire.store.events import Event
from homefire.store.noun import seq_of
from homefire.store.nouns.conversation_rows import TurnRow
from homefire.store.nouns.conversations import key_of
from homefire.store.nouns.erasures import BodiesErased
from homefire.store.nouns.examples import CorrectionWithdrawn, ExampleRow
from homefire.store.store import Store
from homefire.training.ledger import trained_into
from homefire.types import Message, text_of

MIN_QUOTED_CHARS = 8
"""A shorter text is looked for only where it must be: `yes` stands in every second sentence."""
QUOTING = frozenset(
    {
        "alias.moved",
        "correction.withdrawn",
        "gate.judged",
        "run.moved",
        "version.published",
        "version.removed",
    }
)
"""Events of the machine whose words may repeat a person's."""
MAX_FILE_BYTES = 64 << 20


class ErasedCorrection(msgspec.Struct, frozen=True, kw_only=True):
    """A correction that goes with it. `known_to`: the version of the live line that was trained on it."""

    example_id: str
    was_waiting: bool
    known_to: str | None


class ErasureReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was erased, or would be (`is_done` is false), and what still holds it."""

    subject: str
    is_done: bool
    num_messages: int
    num_contents: int
    corrections: tuple[ErasedCorrection, ...]
    num_elsewhere: int
    """Contents of other conversations, of whoever, that hold the same text."""
    files: tuple[str, ...]
    """Files of this home that hold it or may: rows of runs, copies of the database."""
    advice: tuple[str, ...]
    """Sentences for people: what to do about the rest."""


class Erasure:
    """One erasure: planned when it is made, done by the events of `events`. Raises NotFound and Conflict."""

    def __init__(self, store: Store, home: Home, subject: str, *, principal: str, live: str) -> None:
        self._store, self._subject, self._principal = store, subject, principal
        turns, keys = self._find()
        self._messages = [row.message for key in keys if (row := store.messages.by_key(key)) is not None]
        said = {encode((message.role, message.content)) for message in self._messages}
        self._examples = [
            row for row in store.examples.list() if not row.is_erased and self._holds(row, turns, said)
        ]
        known = trained_into(store, live)
        self._check_idle(turns)
        self.corrections = tuple(
            ErasedCorrection(
                example_id=row.example_id,
                was_waiting=row.counts and row.example_id not in known,
                known_to=known.get(row.example_id),
            )
            for row in self._examples
        )
        taught = [message for row in self._examples for message in row.messages]
        texts = {message.text for message in (*self._messages, *taught) if not message.is_erased}
        self.texts = frozenset(text for text in texts if len(text.strip()) >= MIN_QUOTED_CHARS)
        """What is looked for elsewhere: the words of the messages and corrections, except very short ones."""
        bodies = set(keys)
        bodies.update(store.erasable.of_turns([turn.turn_id for turn in turns if not self._is_one_message]))
        bodies.update(store.erasable.of_examples([row.example_id for row in self._examples]))
        needles = [encode(text)[1:-1] for text in self.texts]
        quoting, elsewhere = self._quoting(needles, bodies)
        self.bodies = tuple(sorted(store.erasable.unerased(bodies | quoting)))
        self.num_elsewhere = elsewhere
        self.files = tuple(_files(home, needles))

    @property
    def _is_one_message(self) -> bool:
        return self._subject.startswith("msg_")

    def events(self, *, why: str) -> tuple[Event, ...]:
        """What records it. None where everything is erased already."""
        if not self.bodies:
            return ()
        erased = {row.example_id for row in self._examples}
        superseded = {
            row.example_id: row.superseded_by
            for row in self._store.examples.list()
            if row.superseded_by is not None and (row.example_id in erased or row.superseded_by in erased)
        }
        withdrawn = (
            CorrectionWithdrawn(example_id=row.example_id, who=self._principal, why="erased")
            for row in self._examples
            if row.counts
        )
        return (
            *withdrawn,
            BodiesErased(
                who=self._principal,
                why=why,
                subject=self._subject,
                erased=self.bodies,
                superseded=superseded,
            ),
        )

    def report(self, *, is_done: bool) -> ErasureReport:
        """What goes and what stays."""
        return ErasureReport(
            subject=self._subject,
            is_done=is_done,
            num_messages=len(self._messages),
            num_contents=len(self.bodies),
            corrections=self.corrections,
            num_elsewhere=self.num_elsewhere,
            files=self.files,
            advice=tuple(self._advice()),
        )

    def _find(self) -> tuple[list[TurnRow], list[int]]:
        """The turns it is about, and the keys of their messages."""
        store, subject = self._store, self._subject
        if self._is_one_message:
            row = store.messages.get(subject)
            session = store.sessions.get(row.session_id) if row is not None else None
            if row is None or session is None or session.principal != self._principal:
                raise NotFound(f"There is no message {quoted(subject)}.", message_id=subject)
            of_it = [turn for turn in store.turns.list(row.session_id) if self._is_in(turn, subject)]
            return of_it, [key_of(subject)]
        if subject.startswith("turn_"):
            turns = [turn_of(store, self._principal, subject)]
        else:
            session_of(store, self._principal, subject)
            turns = store.turns.list(subject)
        return turns, store.erasable.messages_of([turn.turn_id for turn in turns])

    def _is_in(self, turn: TurnRow, message_id: str) -> bool:
        return message_id == turn.answer_message_id or seq_of(key_of(message_id)) == turn.seq

    def _holds(self, row: ExampleRow, turns: Sequence[TurnRow], said: set[bytes]) -> bool:
        """Whether a correction was made of these turns, or repeats a message of them as it was said."""
        if row.turn_id is not None and any(turn.turn_id == row.turn_id for turn in turns):
            return True
        return row.principal == self._principal and any(
            encode((message.role, message.content)) in said for message in row.messages if _is_long(message)
        )

    def _check_idle(self, turns: Sequence[TurnRow]) -> None:
        if any(turn.outcome is None for turn in turns):
            raise Conflict("This is being answered right now.", hint="Stop the answer first, then erase.")
        for run in (*self._store.runs.list("running"), *self._store.runs.list("paused")):
            dataset = self._store.datasets.get(run.dataset_id)
            held = {row.example_id for row in self._examples}
            if dataset is not None and held.intersection(dataset.example_ids):
                raise Conflict(
                    f"Run {run.run_id} is learning a correction that holds this.",
                    hint=f"Stop it first (homefire runs stop {run.run_id}), or wait until it is done.",
                    run_id=run.run_id,
                )

    def _quoting(self, needles: Sequence[bytes], bodies: set[int]) -> tuple[set[int], int]:
        """Contents of the machine that quote one of the texts, and how many others hold one."""
        quoting: set[int] = set()
        elsewhere = 0
        for body, kind in self._store.erasable.holding(needles):
            if kind in QUOTING:
                quoting.add(body)
            elif body not in bodies:
                elsewhere += 1
        return quoting, elsewhere

    def _advice(self) -> Iterator[str]:
        for row in self.corrections:
            if row.known_to is not None:
                yield (
                    f"Version {row.known_to} learned correction {row.example_id[:12]} and may still say it: "
                    f"`homefire corrections withdraw {row.example_id[:12]}` makes one that never did, and "
                    "`homefire versions delete` removes the old ones."
                )
        if self.files:
            yield "Delete the files that are named once you do not need them any more."
        if self.num_elsewhere:
            yield "Other conversations hold the same text; erase them, too, if it must be gone everywhere."
        yield "Exports, backups made elsewhere and what a remote model was sent are not in reach."


def _is_long(message: Message) -> bool:
    return len(text_of(message.content).strip()) >= MIN_QUOTED_CHARS


def _files(home: Home, needles: Sequence[bytes]) -> Iterator[str]:
    """Rows of runs that hold one of the texts, and copies of the database, whatever they hold."""
    for path in sorted(home.runs.glob("*/**/*.json*")):
        if needles and _holds_any(path, needles):
            yield str(path)
    yield from (str(path) for path in sorted(home.backups.glob("homefire*")) if path.is_file())


def _holds_any(path: Path, needles: Sequence[bytes]) -> bool:
    try:
        if path.is_symlink() or path.stat().st_size > MAX_FILE_BYTES:
            return False
        data = path.read_bytes()
    except OSError:
        return False  # it went meanwhile
    return any(needle in data for needle in needles)
