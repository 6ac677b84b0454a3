"""One atomic, fenced move: a directory is written aside, flushed, and named only by whoever holds the
lease.

Promise: when `commit_directory` returns, the directory is durable under its name with exactly the bytes
given; before that the name does not exist. The lease's epoch is compared under the lock inside the move, so
a worker that lost its run can name nothing. A failed flush is never tried again: StorePoisoned, and the
process must end.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from homefire.errors import StoreFenced, StorePoisoned
from homefire.machine.hashing import hash_file
from homefire.store.durable import flush_tree, translated_os_errors
from homefire.trainer.contract import EPOCH_FILE, LOCK_FILE, RESULT_MANIFEST
from homefire.world import World


class Streamed(Protocol):
    """A file's content that is not in memory as a whole."""

    def pieces(self) -> Iterator[bytes | memoryview]:
        """Its bytes in order; each time from the beginning."""
        ...


Content = bytes | Path | Streamed
"""What a file is to hold: bytes, the bytes of another file, or a stream."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right of one worker to write into one run directory."""

    run_dir: Path
    epoch: int

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Inside, no other process commits; StoreFenced if the run belongs to another epoch by now."""
        descriptor = os.open(self.run_dir / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            current = (self.run_dir / EPOCH_FILE).read_text(encoding="ascii").strip()
            if current != str(self.epoch):
                raise StoreFenced(
                    f"This worker holds lease {self.epoch} of its run, which is at lease {current} now.",
                    hint="Another worker continues the run; this one committed nothing.",
                    epoch=self.epoch,
                    current=current,
                )
            yield
        finally:
            os.close(descriptor)


def commit_directory(
    target: Path,
    files: Mapping[str, Content],
    *,
    lease: Lease,
    world: World,
    manifest: Callable[[dict[str, str]], bytes] | None = None,
) -> None:
    """Give `target` these files (contents, streams, or files to copy), durably and all at once; an older one is
    replaced.

    With `manifest`, what it makes of the files' SHA-256 is one more file of the directory (`RESULT_MANIFEST`).

    Raises:
        StoreFull, StoreReadOnly, StoreError: nothing was named, nothing is left behind.
        StorePoisoned: a flush failed; it must not be tried again.
        StoreFenced: the lease is lost.
    """
    temporary = target.with_name(f".{target.name}.{world.random_bytes(6).hex()}.tmp")
    try:
        with translated_os_errors(target):
            temporary.mkdir(mode=0o700)
            for name, content in files.items():
                _write(temporary / name, content)
            if manifest is not None:
                hashes = {name: _sha256(content, temporary / name) for name, content in files.items()}
                (temporary / RESULT_MANIFEST).write_bytes(manifest(hashes))
        _flush(lambda: flush_tree(temporary, world), target)
        with lease.held(), translated_os_errors(target):
            if target.exists():
                remove_directory(target, world)
            world.files.replace(temporary, target)
            _flush(lambda: world.files.fsync_directory(target.parent), target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def ensure_directory(folder: Path, world: World) -> None:
    """Make a directory and flush its name, also where an earlier process made it and was killed before its flush."""
    with translated_os_errors(folder):
        folder.mkdir(mode=0o700, exist_ok=True)
    _flush(lambda: world.files.fsync_directory(folder.parent), folder)


def _write(path: Path, content: Content) -> None:
    if isinstance(content, Path):
        shutil.copyfile(content, path)
    elif isinstance(content, bytes):
        path.write_bytes(content)
    else:
        with path.open("xb", buffering=0) as file:
            for piece in content.pieces():
                view = memoryview(piece)
                while view:
                    view = view[file.write(view) :]


def remove_directory(folder: Path, world: World) -> None:
    """Remove a directory so that no half of it is ever seen under its name."""
    aside = folder.with_name(f".{folder.name}.{world.random_bytes(6).hex()}.old")
    world.files.replace(folder, aside)
    shutil.rmtree(aside)


def sweep(folder: Path) -> None:
    """Remove what killed writers left behind: directories that never got, or no longer have, their name."""
    for path in folder.glob(".*"):
        if path.suffix in (".tmp", ".old") and path.is_dir():
            shutil.rmtree(path)


def flush_failure(path: Path, error: OSError) -> StorePoisoned:
    """The error for a failed flush of `path`."""
    return StorePoisoned(
        f"Flushing {path} to the disk failed: {error.strerror}. What was written may not be there.",
        hint="Look at the disk (dmesg, SMART). The run continues from its last verified checkpoint.",
        path=str(path),
    )


def _sha256(content: Content, written: Path) -> str:
    """Of what was to be written, where it is at hand: a disk that writes something else is found out."""
    if isinstance(content, Path):
        return hash_file(written)
    digest = hashlib.sha256()
    for piece in (content,) if isinstance(content, bytes) else content.pieces():
        digest.update(piece)
    return digest.hexdigest()


def _flush(action: object, path: Path) -> None:
    assert callable(action)
    try:
        action()
    except OSError as error:
        raise flush_failure(path, error) from error
