"""What lies in a home and is not Homefire's, or is Homefire's and not in its log.

Homefire removes nothing that it did not surely write, so what somebody put among its files stays, and is named
here. Also named is what an older database does not know: a version, a run or a base whose event is not in the log.
Reads the directories only.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from homefire.catalog.importing import is_being_added
from homefire.errors import CorruptData
from homefire.home import Home
from homefire.store.durable import is_leftover
from homefire.store.store import Store
from homefire.versions.library import Library
from homefire.versions.manifest import MANIFEST_NAME, decode_manifest


class Stray(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that no event speaks of. `is_ours`: Homefire wrote it, so its log was longer once."""

    path: Path
    is_ours: bool = False


def find_strays(home: Home, store: Store, library: Library) -> list[Stray]:
    """All of them, by directory. OSError where a directory cannot be read."""
    return [
        *_among_versions(home, store, library),
        *_among_bases(home, store),
        *_among_runs(home, store),
        *(Stray(path=path) for path in store.blobs.strays()),
    ]


def _among_versions(home: Home, store: Store, library: Library) -> Iterator[Stray]:
    expected = set()
    for row in library.all():
        try:
            expected.add(library.manifest(row.version).folder_name)
        except CorruptData:
            expected |= {path.name for path in home.versions.glob(f"{row.version}-*")}
    for path in _entries(home.versions):
        if path.name not in expected:
            yield Stray(path=path, is_ours=_is_whole_name(path) and _is_unknown(path, store))


def _is_whole_name(path: Path) -> bool:
    try:
        return decode_manifest((path / MANIFEST_NAME).read_bytes()).folder_name == path.name
    except (CorruptData, OSError):
        return False


def _is_unknown(path: Path, store: Store) -> bool:
    return store.versions.get(path.name.partition("-")[0]) is None


def _among_bases(home: Home, store: Store) -> Iterator[Stray]:
    known = {(home.root / row.path).name for row in store.models.list()}
    for path in _entries(home.base_models):
        if path.name not in known and not is_being_added(path):
            yield Stray(path=path)


def _among_runs(home: Home, store: Store) -> Iterator[Stray]:
    known = {row.run_id for row in store.runs.list()}
    for path in _entries(home.runs):
        if path.name not in known:
            yield Stray(path=path, is_ours=path.name.startswith("run_") and path.is_dir())


def _entries(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not is_leftover(path))
