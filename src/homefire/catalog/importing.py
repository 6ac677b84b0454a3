"""Bringing a model's files into the home: shared with the original where the file system can, else copied.

The folder appears whole and flushed or not at all, and what arrived is read back and hashed before it counts.
Sharing means reflinks, never hard links: with a hard link, rewriting the original would rewrite ours.
"""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Mapping
from pathlib import Path

from homefire.catalog.file_hashes import find_damage
from homefire.errors import CorruptData
from homefire.store.durable import make_directory, replace_directory, translated_os_errors
from homefire.world import World

_FICLONE = 0x40049409
"""ioctl of Linux: share the blocks of another file until one of the two is changed."""


def import_files(source: Path, files: Mapping[str, str], *, target: Path, world: World) -> None:
    """Make `target` hold exactly `files` (relative path -> SHA-256) of `source`.

    Raises StoreFull or StoreReadOnly when the disk does not take it, CorruptData when what was written is not
    what was hashed.
    """
    make_directory(target.parent, world)
    aside = target.with_name(f".{target.name}.{world.random_bytes(6).hex()}.new")
    try:
        with translated_os_errors(target):
            aside.mkdir(mode=0o700)
            for name in files:
                (aside / name).parent.mkdir(parents=True, exist_ok=True)
                copy_file(source / name, aside / name)
        damage = find_damage(aside, files)
        if damage:
            raise CorruptData(
                f"The model changed while it was added, or was not written well: {damage[0]}",
                hint="Try again; if it happens again, check the disk.",
            )
        replace_directory(aside, target, world)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def copy_file(source: Path, target: Path) -> None:
    """Share the blocks of `source` where the file system can, copy them otherwise."""
    with source.open("rb") as original, target.open("xb") as copy:
        try:
            fcntl.ioctl(copy.fileno(), _FICLONE, original.fileno())
        except OSError:
            shutil.copyfileobj(original, copy, 1 << 20)
