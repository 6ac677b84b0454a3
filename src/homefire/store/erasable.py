"""Which contents belong to what, for whoever erases: keys of bodies by turn and example, and by what they hold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from homefire.store.connections import ReadConnections
from homefire.store.noun import body_id, seq_of
from homefire.store.packing import pack_id, unpack
from homefire.store.sql import Statement

_BATCH_ROWS = 1000
_of_turn = Statement("SELECT turn, ended FROM turns WHERE turn_id = :turn_id")
_feedback_of = Statement("SELECT seq FROM feedback WHERE turn_id = :turn_id AND has_text = 1")
_taught = Statement("SELECT seq, feedback_id FROM taught WHERE example_id = :example_id")
_feedback = Statement("SELECT seq FROM feedback WHERE feedback_id = :feedback_id AND has_text = 1")
_bodies = Statement("SELECT body FROM bodies WHERE body >= :first AND body < :end")
_messages = Statement("SELECT message FROM messages WHERE message >= :first AND message < :end")
_whole = Statement("SELECT 1 FROM bodies WHERE body = :body AND length(content) > 0")
_after = Statement(
    f"SELECT body, content FROM bodies WHERE body > :body AND length(content) > 0 ORDER BY body LIMIT {_BATCH_ROWS}"
)
_payload = Statement("SELECT payload FROM events WHERE seq = :seq")


class _Kind(msgspec.Struct):
    kind: str


class Erasable:
    """Reads only."""

    def __init__(self, connections: ReadConnections) -> None:
        self._connections = connections

    def messages_of(self, turn_ids: Sequence[str]) -> list[int]:
        """The keys of the messages that these turns put on record."""
        return [key for seq in self._seqs(turn_ids) for key in self._keys(_messages, seq)]

    def of_turns(self, turn_ids: Sequence[str]) -> list[int]:
        """Everything that was said in these turns and of them."""
        found = [key for seq in self._seqs(turn_ids) for key in self._keys(_bodies, seq)]
        with self._connections.use() as connection:
            for turn_id in turn_ids:
                found += [body_id(seq, 0) for (seq,) in _feedback_of.all(connection, {"turn_id": turn_id})]
        return found

    def of_examples(self, example_ids: Sequence[str]) -> list[int]:
        """The rows of these examples, each time they were taught, and the feedback that taught them."""
        found = []
        with self._connections.use() as connection:
            for example_id in example_ids:
                for seq, feedback_id in _taught.all(connection, {"example_id": example_id}):
                    found.append(body_id(seq, 0))
                    of_it = _feedback.all(connection, {"feedback_id": feedback_id}) if feedback_id else ()
                    found += [body_id(given, 0) for (given,) in of_it]
        return found

    def unerased(self, bodies: Iterable[int]) -> list[int]:
        """Those that still hold something."""
        with self._connections.use() as connection:
            return [body for body in bodies if _whole.one(connection, {"body": body})]

    def holding(self, needles: Sequence[bytes]) -> Iterator[tuple[int, str]]:
        """`(key, kind of its event)` of every content whose JSON holds one of these. Reads all of them."""
        body = -1
        while needles:
            with self._connections.use() as connection:
                rows = _after.all(connection, {"body": body})
                found = []
                for key, stored in rows:
                    content = unpack(stored)
                    if any(needle in content for needle in needles):
                        row = _payload.one(connection, {"seq": seq_of(key)})
                        assert row is not None
                        found.append((key, msgspec.json.decode(unpack(row[0]), type=_Kind).kind))
            yield from found
            if not rows:
                return
            body = rows[-1][0]

    def _seqs(self, turn_ids: Sequence[str]) -> list[int]:
        """Where these turns begin and end in the log."""
        with self._connections.use() as connection:
            rows = [_of_turn.one(connection, {"turn_id": pack_id(one, "turn")}) for one in turn_ids]
        return [seq for row in rows if row is not None for seq in row if seq is not None]

    def _keys(self, statement: Statement, seq: int) -> list[int]:
        with self._connections.use() as connection:
            return [
                key
                for (key,) in statement.all(
                    connection, {"first": body_id(seq, 0), "end": body_id(seq + 1, 0)}
                )
            ]
