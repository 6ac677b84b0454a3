"""The older rows of a run, read one at a time from their file.

A run may replay a hundred thousand rows and needs some thirty in a step, so neither their text nor their tokens are
held: an index says at which byte each row begins and how long it is, a row is read when a step places it, and its
length in tokens is found when it is first asked for. The index is made in one pass (10 µs a row) and kept beside the
file:

    retained.jsonl.index     one JSON line {key, sha256, num_rows}, then 16 bytes a row: offset, size

Promises: an index of other rows (`key` holds the hash of the file and of all that decided which rows are in it), or a
damaged one, is made again; losing it costs time alone. Memory: 20 bytes a row.
"""

from __future__ import annotations

import hashlib
import os
from abc import abstractmethod
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar, overload

import msgspec

from homefire.trainer.contract import TrainingRow, iter_rows

UNUSABLE = 1 << 30
"""The length of a row that cannot be used; longer than any context."""
_UNKNOWN = -1
T = TypeVar("T")


class _Header(msgspec.Struct, frozen=True):
    key: str
    sha256: str
    num_rows: int


class _Computed(Sequence[T]):
    """A sequence whose items are made when they are asked for; a slice is a tuple."""

    @abstractmethod
    def at(self, index: int) -> T:
        """The item at a place that is there, from 0."""

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[T, ...]: ...
    def __getitem__(self, index: int | slice) -> T | tuple[T, ...]:
        places = range(len(self))[index]
        return self.at(places) if isinstance(places, int) else tuple(map(self.at, places))


class RowFile(_Computed[TrainingRow]):
    """The rows of a JSONL file that are used, by position. `num_left_out` of the file's rows are not."""

    def __init__(self, path: Path | None, places: array[int], *, num_left_out: int) -> None:
        """`places` holds offset and size in bytes of each row, one after the other."""
        self._descriptor = os.open(path, os.O_RDONLY) if path is not None else -1
        self._places = places
        self.num_left_out = num_left_out

    def __len__(self) -> int:
        return len(self._places) // 2

    def at(self, index: int) -> TrainingRow:
        offset, size = self._places[2 * index], self._places[2 * index + 1]
        return msgspec.json.decode(os.pread(self._descriptor, size, offset), type=TrainingRow)

    def __del__(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)


class ChangedRows(_Computed[TrainingRow]):
    """Other rows, each changed when it is read."""

    def __init__(self, rows: Sequence[TrainingRow], change: Callable[[TrainingRow], TrainingRow]) -> None:
        self._rows, self._change = rows, change

    def __len__(self) -> int:
        return len(self._rows)

    def at(self, index: int) -> TrainingRow:
        return self._change(self._rows[index])


def open_rows(path: Path | None, *, is_used: Callable[[TrainingRow], bool], purpose: bytes) -> RowFile:
    """The rows of a file for which `is_used` says so; None: no rows. `purpose` identifies what `is_used` depends on.

    Raises:
        InvalidRequest: a line is not a row; the message names the file and the line.
    """
    if path is None:
        return RowFile(None, array("Q"), num_left_out=0)
    key = hashlib.sha256(hash_rows(path) + purpose).hexdigest()
    index = path.with_name(f"{path.name}.index")
    found = _read_index(index, key)
    if found is None:
        found = _find_rows(path, is_used)
        _write_index(index, key, *found)
    places, num_rows = found
    return RowFile(path, places, num_left_out=num_rows - len(places) // 2)


def hash_rows(path: Path | None) -> bytes:
    """SHA-256 of a file of rows, without holding it; of nothing for None."""
    if path is None:
        return hashlib.sha256(b"").digest()
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").digest()


class TokenLengths(_Computed[int]):
    """The length in tokens of each row, measured when it is first asked for; `UNUSABLE` where there is none."""

    def __init__(self, rows: Sequence[TrainingRow], measure: Callable[[TrainingRow], int]) -> None:
        self._rows, self._measure = rows, measure
        self._known = array("i", [_UNKNOWN]) * len(rows)

    def __len__(self) -> int:
        return len(self._known)

    def at(self, index: int) -> int:
        if self._known[index] == _UNKNOWN:
            self._known[index] = self._measure(self._rows[index])
        return self._known[index]


def _find_rows(path: Path, is_used: Callable[[TrainingRow], bool]) -> tuple[array[int], int]:
    places, num_rows = array("Q"), 0
    for offset, size, row in iter_rows(path):
        num_rows += 1
        if is_used(row):
            places.extend((offset, size))
    return places, num_rows


def _read_index(path: Path, key: str) -> tuple[array[int], int] | None:
    try:
        head, _, body = path.read_bytes().partition(b"\n")
        header = msgspec.json.decode(head, type=_Header)
    except (OSError, msgspec.DecodeError):
        return None
    if header.key != key or header.sha256 != hashlib.sha256(body).hexdigest():
        return None
    places = array("Q")
    places.frombytes(body)
    return places, header.num_rows


def _write_index(path: Path, key: str, places: array[int], num_rows: int) -> None:
    """Whole or not at all. Without room for it the run goes on: it is made again at the next start."""
    body = places.tobytes()
    header = msgspec.json.encode(_Header(key, hashlib.sha256(body).hexdigest(), num_rows))
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(header + b"\n" + body)
        temporary.replace(path)
    except OSError as error:
        print(f"{path.name} was not written: {error.strerror}.", flush=True)
        temporary.unlink(missing_ok=True)
