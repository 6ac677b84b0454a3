"""What the catalog reads of a version's manifest (it may not import its floor-mate `versions`)."""

from __future__ import annotations

import hashlib
from datetime import datetime
from pathlib import Path
from typing import Literal

import msgspec

from homefire.errors import CorruptData, NotFound
from homefire.home import Home
from homefire.store.nouns.versions import VersionRow
from homefire.store.store import Store


class Manifest(msgspec.Struct, frozen=True):
    """The part of a manifest that says where a version lies and which files it has."""

    version: str
    created_at: str
    kind: Literal["full", "adapter"]
    files: dict[str, str]


class Manifests:
    """Reads each manifest once; by its hash, so what was read stays true."""

    def __init__(self, home: Home, store: Store) -> None:
        self._home, self._store = home, store
        self._read: dict[str, Manifest] = {}

    def of(self, row: VersionRow) -> Manifest:
        """CorruptData when both copies are damaged or gone."""
        manifest = self._read.get(row.manifest_sha256)
        if manifest is None:
            try:
                data = self._store.blobs.read(row.manifest_sha256)
            except (CorruptData, NotFound):
                data = self._from_folder(row)
            manifest = self._read[row.manifest_sha256] = msgspec.json.decode(data, type=Manifest)
        return manifest

    def has_read(self, version: str) -> bool:
        """Whether the manifest of this version was found whole: what it says will not change."""
        return any(manifest.version == version for manifest in self._read.values())

    def folder(self, row: VersionRow) -> Path:
        """The readable folder of a version."""
        try:
            manifest = self.of(row)
        except CorruptData:
            # It is listed still, so that it can be looked at, deleted or replaced; serving it fails.
            return self._home.versions / row.version
        stamp = datetime.fromisoformat(manifest.created_at).strftime("%Y%m%d-%H%M%S")
        return self._home.versions / f"{manifest.version}-{stamp}"

    def _from_folder(self, row: VersionRow) -> bytes:
        """The copy in the readable folder, when it is the one that was published."""
        for path in self._home.versions.glob(f"{row.version}-*/manifest.json"):
            data = path.read_bytes()
            if hashlib.sha256(data).hexdigest() == row.manifest_sha256.removeprefix("sha256:"):
                return data
        raise CorruptData(
            f"Both copies of the manifest of {row.version} are damaged or gone.",
            hint=f"Run `homefire versions verify {row.version}`.",
            version=row.version,
        )
