"""Bringing a model's files into the home: shared with the original where the file system can, else copied.

The folder appears whole and flushed or not at all, and what arrived is read back and hashed before it counts. What
a killed process left of it is removed at the next start, and nothing else is.
Sharing means reflinks, never hard links: with a hard link, rewriting the original would rewrite ours.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from homefire.catalog.file_hashes import find_damage, has_hash
from homefire.errors import Conflict, CorruptData
from homefire.store.durable import (
    discarded_on_error,
    is_leftover,
    make_directory,
    move_aside,
    replace_directory,
    translated_os_errors,
    write_file,
)
from homefire.world import World

_ADDING = ".adding"
_FICLONE = 0x40049409
"""ioctl of Linux: share the blocks of another file until one of the two is changed."""


def import_files(source: Path, files: Mapping[str, str], *, target: Path, world: World) -> None:
    """Make `target`, which must not exist, hold exactly `files` (relative path -> SHA-256) of `source`.

    Until `end_import` a note beside the target says what was being added, so that `discard_unfinished` can tell
    it from a folder that somebody put there. Raises Conflict where something is in the way, StoreFull or
    StoreReadOnly when the disk does not take it, CorruptData when what was written is not what was hashed.
    """
    make_directory(target.parent, world)
    if is_being_added(_note(target)) and _is_copy(target, _note(target)):
        shutil.rmtree(target)  # the last time it did not get its name
    if os.path.lexists(target):
        raise Conflict(
            f"There is something at {target} that is not a model of this home.",
            hint="Move it away, or give the model another name.",
            path=str(target),
        )
    write_file(_note(target), json.dumps(dict(files), sort_keys=True).encode(), world)
    aside = target.with_name(f".{target.name}.{world.random_bytes(6).hex()}.new")
    try:
        with translated_os_errors(target):
            aside.mkdir(mode=0o700)
            for name in files:
                (aside / name).parent.mkdir(parents=True, exist_ok=True)
                copy_file(source / name, aside / name)
        _refuse_damage(find_damage(aside, files))
        replace_directory(aside, target, world)
    except BaseException:
        _note(target).unlink(missing_ok=True)
        raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def end_import(target: Path) -> None:
    """The model has its name now: it is no longer being added."""
    _note(target).unlink(missing_ok=True)


def restore_files(source: Path, files: Mapping[str, str], *, target: Path, world: World) -> list[str]:
    """Bring back those of `files` that are damaged or gone in `target`; which. Raises as `import_files`."""
    restored = []
    if os.path.lexists(target) and not target.is_dir():
        move_aside(target, world)
    make_directory(target, world)
    for name, sha256 in sorted(files.items()):
        if not find_damage(target, {name: sha256}):
            continue
        path = target / name
        aside = path.with_name(f".{path.name}.{world.random_bytes(6).hex()}.tmp")
        with translated_os_errors(path), discarded_on_error(aside):
            path.parent.mkdir(parents=True, exist_ok=True)
            copy_file(source / name, aside)
            _refuse_damage([] if has_hash(aside, sha256) else [f"{name} is not what was registered."])
            world.files.fsync_file(aside)
            if path.is_symlink() or path.is_dir():
                move_aside(path, world)
            world.files.replace(aside, path)
            world.files.fsync_directory(path.parent)
        restored.append(name)
    return restored


def discard_unfinished(folder: Path, *, known: Collection[str]) -> list[str]:
    """Remove what adding a model left when its process was killed; what was removed, in sentences.

    `folder` is where models are kept, `known` the names that are registered. Only for the owner of the home, at
    its start. A folder is removed where its note is there and it holds the files of the note and nothing else.
    """
    done = []
    unfinished = [path for path in folder.iterdir() if is_leftover(path)]
    unfinished += [path for name in known for path in (folder / name).glob(".*.tmp") if is_leftover(path)]
    for path in sorted(unfinished):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
        done.append(f"Removed the unfinished {path.name}.")
    for note in sorted(path for path in folder.iterdir() if is_being_added(path)):
        target = folder / note.name.removeprefix(".").removesuffix(_ADDING)
        if target.name not in known and _is_copy(target, note):
            shutil.rmtree(target)
            done.append(f"Removed {target.name}, which was not added to its end.")
        note.unlink()
    return done


def is_being_added(path: Path) -> bool:
    """Whether this is the note beside a model that is being added."""
    return path.name.startswith(".") and path.name.endswith(_ADDING) and path.is_file()


def copy_file(source: Path, target: Path) -> None:
    """Share the blocks of `source` where the file system can, copy them otherwise."""
    with source.open("rb") as original, target.open("xb") as copy:
        try:
            fcntl.ioctl(copy.fileno(), _FICLONE, original.fileno())
        except OSError:
            shutil.copyfileobj(original, copy, 1 << 20)


def _note(target: Path) -> Path:
    return target.with_name(f".{target.name}{_ADDING}")


def _is_copy(target: Path, note: Path) -> bool:
    if target.is_symlink() or not target.is_dir():
        return False
    try:
        listed = set(json.loads(note.read_bytes()))
    except ValueError:
        return False
    return {path.relative_to(target).as_posix() for path in target.rglob("*") if not path.is_dir()} <= listed


def _refuse_damage(damage: Sequence[str]) -> None:
    if damage:
        raise CorruptData(
            f"The model changed while it was added, or was not written well: {damage[0]}",
            hint="Try again; if it happens again, check the disk.",
        )
