"""Files that survive a power cut: written aside, flushed, renamed, and their directory flushed.

Promise: when a function here returns, what it wrote is on disk under its name, and at no moment was a half
of it visible there. A failed flush is raised and never tried again: the kernel may have dropped the bytes.
Costs two flushes a file (milliseconds on a disk, microseconds on battery-backed or memory file systems).
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from homefire.errors import StoreError, StoreFull, StoreReadOnly
from homefire.world import World

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_READ_ONLY = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
_LEFTOVER = re.compile(r"\.(?:.+\.)?[0-9a-f]{12,24}\.(?:tmp|new|old)")


@contextlib.contextmanager
def translated_os_errors(path: Path) -> Iterator[None]:
    """Turn the operating system's refusals to write `path` into StoreFull, StoreReadOnly or StoreError.

    FileNotFoundError passes: it is the caller's mistake, not the disk's.
    """
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise os_error_to_store_error(error, path) from error


def os_error_to_store_error(error: OSError, path: Path) -> StoreError:
    """The typed error for a failed file operation on `path`."""
    if error.errno in _FULL:
        return StoreFull(
            f"There is no room to write {path}: {error.strerror}.",
            hint="Free some space; nothing that was acknowledged is lost.",
            path=str(path),
        )
    if error.errno in _READ_ONLY:
        return StoreReadOnly(
            f"{path} cannot be written: {error.strerror}.",
            hint="Make the home directory writable for this user.",
            path=str(path),
        )
    return StoreError(
        f"Writing {path} failed: {error.strerror}.",
        hint="Look at the disk (dmesg, SMART) before you continue.",
        path=str(path),
    )


def write_file(path: Path, data: bytes, world: World, *, mode: int = 0o600) -> None:
    """Give `path` the content `data`, whole or not at all. The directory must exist.

    Raises StoreFull, StoreReadOnly or StoreError; then `path` is what it was before.
    """
    temporary = path.with_name(f".{path.name}.{world.random_bytes(6).hex()}.tmp")
    with translated_os_errors(path), discarded_on_error(temporary):
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        world.files.fsync_file(temporary)
        world.files.replace(temporary, path)
        world.files.fsync_directory(path.parent)


def make_directory(path: Path, world: World) -> None:
    """Make one directory (0700) inside an existing one, durably; harmless when it is there."""
    with translated_os_errors(path):
        if not path.is_dir():
            path.mkdir(mode=0o700, exist_ok=True)
            world.files.fsync_directory(path.parent)


def replace_directory(source: Path, target: Path, world: World) -> None:
    """Flush every file and directory of `source`, then give it the name `target`, and flush that too.

    Both must be on one file system. Where `target` does not exist (the usual case: names are new) this is
    atomic. An existing `target` is moved aside first and deleted afterwards: for an instant, and after a
    cut in that instant, the name is absent, but it never shows a mixture of the two.
    """
    with translated_os_errors(target):
        flush_tree(source, world)
        aside: Path | None = None
        if target.exists():
            aside = target.with_name(f".{target.name}.{world.random_bytes(6).hex()}.old")
            world.files.replace(target, aside)
        world.files.replace(source, target)
        world.files.fsync_directory(target.parent)
        if source.parent != target.parent:
            world.files.fsync_directory(source.parent)
        if aside is not None:
            shutil.rmtree(aside)


def is_leftover(path: Path) -> bool:
    """Whether this is the name of something that was being written when its process was killed.

    Nothing else may be removed unasked: what has another name was put there by somebody.
    """
    return _LEFTOVER.fullmatch(path.name) is not None


def move_aside(path: Path, world: World) -> Path:
    """Give what is in the way another name beside its own, `<name>.found-<six digits>`; the new path.

    What somebody put there is nobody's to delete.
    """
    found = path.with_name(f"{path.name}.found-{world.random_bytes(3).hex()}")
    with translated_os_errors(path):
        world.files.replace(path, found)
        world.files.fsync_directory(path.parent)
    return found


def flush_tree(root: Path, world: World) -> None:
    """Flush every regular file below `root` and every directory, innermost first."""
    for folder, _, names in os.walk(root, topdown=False):
        for name in names:
            path = Path(folder) / name
            if not path.is_symlink():
                world.files.fsync_file(path)
        world.files.fsync_directory(Path(folder))


@contextlib.contextmanager
def discarded_on_error(temporary: Path) -> Iterator[None]:
    """Remove `temporary` when the block fails."""
    try:
        yield
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
