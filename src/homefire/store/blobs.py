"""Content-addressed files: a blob is named by the SHA-256 of its bytes and never changes.

Promises: a blob that has a name is whole and flushed; `read` and `verify` notice a single flipped bit before
the bytes are used; a digest that is not 64 hex digits never reaches the file system. Costs one hash and two
flushes a new blob, one hash a read.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from homefire.errors import CorruptData, NotFound, quoted
from homefire.store.durable import (
    discarded_on_error,
    is_leftover,
    make_directory,
    move_aside,
    translated_os_errors,
)
from homefire.world import World

CHUNK_BYTES = 1 << 20
_DIGEST = re.compile(r"[0-9a-f]{64}")
_SHARD = re.compile(r"[0-9a-f]{2}")
_PREFIX = "sha256:"


def check_digest(digest: str) -> str:
    """The 64 lower-case hex digits of `digest` (`sha256:` may come before). ValueError for anything else."""
    bare = digest.removeprefix(_PREFIX)
    if not _DIGEST.fullmatch(bare):
        raise ValueError(f"{quoted(digest[:80])} is not a SHA-256 in 64 lower-case hex digits.")
    return bare


class BlobStore:
    """Blobs below `root`, as `ab/cdef…` by the first two digits of their digest. Safe from many threads."""

    def __init__(self, root: Path, world: World) -> None:
        self.root = root
        self._world = world

    def put_bytes(self, data: bytes) -> str:
        """Keep `data`; returns its digest. Raises StoreFull, StoreReadOnly or StoreError."""
        return self._put(iter((data,)))

    def put_file(self, path: Path, *, offset: int = 0, size_bytes: int | None = None) -> str:
        """Keep a copy of a file, or of `size_bytes` of it from `offset`; returns the digest.

        Raises ValueError when the file ends before that; errors as `put_bytes`.
        """
        with path.open("rb") as file:
            file.seek(offset)
            return self._put(_read_chunks(file, size_bytes))

    def path(self, digest: str) -> Path:
        """Where the blob is, or would be. Reading it there skips the check: prefer `read`."""
        bare = check_digest(digest)
        return self.root / bare[:2] / bare[2:]

    def exists(self, digest: str) -> bool:
        """Whether a blob of this name is there (its bytes are not looked at)."""
        return self.path(digest).is_file()

    def read(self, digest: str) -> bytes:
        """The bytes, verified. Raises NotFound, or CorruptData when they are not those that were written."""
        try:
            data = self.path(digest).read_bytes()
        except FileNotFoundError as error:
            raise _missing(digest) from error
        except OSError as error:
            raise _unreadable(digest, self.path(digest), error) from error
        if hashlib.sha256(data).hexdigest() != check_digest(digest):
            raise _corrupt(digest, self.path(digest))
        return data

    def open_verified(self, digest: str) -> BinaryIO:
        """The blob opened for reading, after all of it was hashed (for blobs too big for `read`)."""
        self.verify(digest)
        return self.path(digest).open("rb")

    def verify(self, digest: str) -> int:
        """Hash every byte; returns the size in bytes. Raises NotFound or CorruptData."""
        hasher, size_bytes = hashlib.sha256(), 0
        try:
            with self.path(digest).open("rb") as file:
                for chunk in _read_chunks(file, None):
                    hasher.update(chunk)
                    size_bytes += len(chunk)
        except FileNotFoundError as error:
            raise _missing(digest) from error
        except OSError as error:
            raise _unreadable(digest, self.path(digest), error) from error
        if hasher.hexdigest() != check_digest(digest):
            raise _corrupt(digest, self.path(digest))
        return size_bytes

    def all(self) -> Iterator[str]:
        """The digests of all blobs, in order."""
        for shard in sorted(self.root.glob("[0-9a-f][0-9a-f]")):
            if not shard.is_dir():
                continue  # not ours: `strays`
            for path in sorted(shard.iterdir()):
                digest = shard.name + path.name
                if _DIGEST.fullmatch(digest):
                    yield digest

    def discard_temporaries(self) -> None:
        """Remove what puts that were killed left behind. Only for the owner of the home, at its start."""
        for path in self.root.glob(".*.tmp"):
            if is_leftover(path) and path.is_file():
                path.unlink(missing_ok=True)

    def strays(self) -> Iterator[Path]:
        """What lies here and is not a blob: it is somebody else's, and left alone."""
        for shard in sorted(self.root.iterdir()):
            if not _SHARD.fullmatch(shard.name) or not shard.is_dir():
                if not is_leftover(shard):
                    yield shard
                continue
            for path in sorted(shard.iterdir()):
                if not _DIGEST.fullmatch(shard.name + path.name):
                    yield path

    def _put(self, chunks: Iterator[bytes]) -> str:
        files = self._world.files
        temporary = self.root / f".{self._world.random_bytes(12).hex()}.tmp"
        hasher = hashlib.sha256()
        with translated_os_errors(self.root), discarded_on_error(temporary):
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400)
            with os.fdopen(descriptor, "wb") as file:
                for chunk in chunks:
                    hasher.update(chunk)
                    file.write(chunk)
            digest = hasher.hexdigest()
            target = self.path(digest)
            if self._is_whole(digest):
                temporary.unlink()
                # An earlier put may have been killed between its rename and this flush.
                files.fsync_directory(target.parent)
                files.fsync_directory(self.root)
                return digest
            files.fsync_file(temporary)
            make_directory(target.parent, self._world)
            if os.path.lexists(target) and (target.is_symlink() or not target.is_file()):
                move_aside(target, self._world)
            files.replace(temporary, target)
            with discarded_on_error(target):
                files.fsync_directory(target.parent)
        return digest

    def _is_whole(self, digest: str) -> bool:
        try:
            self.verify(digest)
        except (NotFound, CorruptData):
            return False
        return True


def _read_chunks(file: BinaryIO, size_bytes: int | None) -> Iterator[bytes]:
    left = size_bytes
    while left is None or left > 0:
        chunk = file.read(CHUNK_BYTES if left is None else min(CHUNK_BYTES, left))
        if not chunk:
            if left is not None:
                raise ValueError(f"{file.name} ends {left} bytes before the part that was asked for.")
            return
        if left is not None:
            left -= len(chunk)
        yield chunk


def _missing(digest: str) -> NotFound:
    return NotFound(f"There is no blob {digest}.", digest=digest)


def _unreadable(digest: str, path: Path, error: OSError) -> CorruptData:
    return CorruptData(
        f"The blob {digest} cannot be read: {error.strerror}.",
        hint="Look at what is in its place, and at the rights to it.",
        digest=digest,
        path=str(path),
    )


def _corrupt(digest: str, path: Path) -> CorruptData:
    return CorruptData(
        f"The blob {digest} is damaged: its bytes are not those that were written.",
        hint="Restore it from a backup or repair the version it belongs to (homefire versions verify).",
        digest=digest,
        path=str(path),
    )
