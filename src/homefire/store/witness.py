"""An independent witness of the last committed event: a small file beside the database.

SQLite ends a damaged write-ahead log at the first frame that does not fit and says nothing: what was committed after
it is gone, and a chain that ends earlier still holds. The witness says up to where it must reach.

It is written after each commit and before anyone is told of it, never before: so it can name an event too few
(after a crash between the two, which is not a loss), and never one that was not durable. It is not flushed at each
commit, which would double the cost of a turn: it survives every death of the process at once, and a power cut up to
what the system wrote by then (seconds) or the last checkpoint, which flushes it. Two slots are written in turn,
each in a sector of its own and with a checksum, so that one whole record is always there.
"""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path
from typing import NamedTuple

from homefire.store.log import LogTail

_MAGIC = b"HFT1"
_RECORD = struct.Struct(">4sQ32s")
_CHECKSUM = struct.Struct(">I")
SLOT_BYTES = 512
_SIZE = _RECORD.size + _CHECKSUM.size


class Reading(NamedTuple):
    """What the file says. `tail` is None where there is no file, or nothing in it can be read (`is_damaged`)."""

    tail: LogTail | None
    is_damaged: bool


def read_witness(path: Path) -> Reading:
    """The newest whole record. Raises OSError where the file cannot be read."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return Reading(None, False)
    slots = [_decoded(data[start : start + _SIZE]) for start in (0, SLOT_BYTES)]
    tails = [tail for tail in slots if tail is not None]
    return Reading(max(tails, default=None), bool(data) and not tails)


class Witness:
    """The writing side, for the one writer. Raises OSError."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def note(self, tail: LogTail, *, slot: int | None = None) -> None:
        """This event is committed. About 3 µs."""
        record = _RECORD.pack(_MAGIC, tail.seq, tail.hash)
        place = (tail.seq % 2 if slot is None else slot) * SLOT_BYTES
        os.pwrite(self._descriptor, record + _CHECKSUM.pack(zlib.crc32(record)), place)

    def restart(self, tail: LogTail) -> None:
        """The log ends here after a loss that is on record: nothing later counts any more."""
        self.note(tail)
        self.note(tail, slot=(tail.seq + 1) % 2)

    def flush(self) -> None:
        """Flush what was noted."""
        os.fdatasync(self._descriptor)

    def close(self) -> None:
        """Harmless when it is closed."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _decoded(slot: bytes) -> LogTail | None:
    if len(slot) != _SIZE or _CHECKSUM.unpack(slot[_RECORD.size :])[0] != zlib.crc32(slot[: _RECORD.size]):
        return None
    magic, seq, row_hash = _RECORD.unpack(slot[: _RECORD.size])
    return LogTail(seq, row_hash) if magic == _MAGIC else None
