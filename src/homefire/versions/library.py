"""The library of versions: publish, verify, repair, remove, and recover from a crash.

A version exists from the moment its `VersionPublished` event is durable, and by then its blobs, manifest and
readable folder are written, flushed, read back and hashed. A crash before leaves no name; `recover`, run at
every start, completes or removes what killed work left and may itself be killed at any moment. The manifest's
SHA-256 in the log is the root of trust: `verify` hashes every byte against it, `repair` restores the blobs from
the folder and the folder from the blobs. A number is never given twice. Hashing happens on a thread.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from homefire.errors import BadModel, Conflict, CorruptData, ModelNotFound, NotFound, StoreError
from homefire.home import Home
from homefire.machine.hashing import hash_file
from homefire.store.durable import is_leftover, move_aside, replace_directory, write_file
from homefire.store.nouns.versions import VersionPublished, VersionRemoved, VersionRow
from homefire.store.store import Store
from homefire.versions.assembly import (
    Parts,
    Problem,
    assemble,
    dismantle,
    folder_files,
    inspect_blobs,
    inspect_folder,
    repair,
)
from homefire.versions.manifest import (
    MANIFEST_NAME,
    BaseEntry,
    Lineage,
    Manifest,
    decode_manifest,
    encode_manifest,
    utc_stamp,
)
from homefire.world import World


class VerifyReport(msgspec.Struct, frozen=True, kw_only=True):
    """What hashing every byte of a version found."""

    version: str
    num_files: int
    num_blobs: int
    size_bytes: int
    problems: tuple[Problem, ...]

    @property
    def ok(self) -> bool:
        """Whether all is as it was published."""
        return not self.problems


class Library:
    """The versions of one home; make one instance. Publishing is serialised."""

    def __init__(self, home: Home, store: Store, world: World) -> None:
        self._home, self._store, self._world = home, store, world
        self._lock = asyncio.Lock()

    async def publish(
        self,
        folder: Path,
        *,
        kind: Literal["full", "adapter"],
        base: BaseEntry,
        parent: str,
        lineage: Lineage,
        description: str = "",
        metrics: Mapping[str, Any] | None = None,
        files: Mapping[str, str] | None = None,
    ) -> VersionRow:
        """Make a version of a model folder. A run (`lineage.run_id`) that has one already gets that one back.

        `files` are the SHA-256 that the folder's files must have, by name. Raises CorruptData where they have
        others, BadModel for a folder that is not a valid model, a StoreError for the disk. Then there is no
        version, and what was written so far is found again by content the next time.
        """
        async with self._lock:
            known = self.of_run(lineage.run_id) if lineage.run_id is not None else None
            if known is not None:
                return known
            parts = await asyncio.to_thread(self._take, folder, files)
            manifest = Manifest(
                version=self._store.versions.next_name(),
                created_at=utc_stamp(self._world.clock.now_s()),
                kind=kind,
                base=base,
                parent=parent,
                tensors=parts.tensors,
                weights=parts.weights,
                files=parts.files,
                size_bytes=parts.size_bytes,
                lineage=lineage,
                metrics=dict(metrics or {}),
                description=description,
            )
            await asyncio.to_thread(self._put_folder, manifest, parts)
            await self._store.append(_published(manifest))
        return self.get(manifest.version)

    def get(self, version: str) -> VersionRow:
        """The version's row; ModelNotFound when there is none or it was removed."""
        row = self._store.versions.get(version)
        if row is None or row.removed_at_s is not None:
            raise ModelNotFound(f"There is no version {version}.", name=version)
        return row

    def all(self) -> list[VersionRow]:
        """All versions that are there, newest first."""
        return self._store.versions.list()

    def of_run(self, run_id: str) -> VersionRow | None:
        """The version a run published, if it did."""
        return next((row for row in self.all() if row.run_id == run_id), None)

    def manifest(self, version: str) -> Manifest:
        """The verified manifest, from its blob or, where that is damaged, from the folder."""
        return self._manifest(self.get(version))

    def folder(self, version: str) -> Path:
        """The readable folder of a version."""
        return self._home.versions / self.manifest(version).folder_name

    async def verify(self, version: str) -> VerifyReport:
        """Hash every byte of its manifest, blobs and folder. Raises only when there is no such version."""
        return await asyncio.to_thread(self._verify, self.get(version))

    async def repair(self, version: str) -> VerifyReport:
        """Restore damaged parts from undamaged copies, then verify again.

        Raises CorruptData when no undamaged copy of a part exists; what was repaired before that stays repaired.
        """
        row = self.get(version)
        manifest = self._manifest(row)
        async with self._lock:
            await asyncio.to_thread(
                repair,
                manifest,
                self._home.versions / manifest.folder_name,
                self._store.blobs,
                world=self._world,
            )
        return await asyncio.to_thread(self._verify, row)

    async def delete(self, version: str, *, who: str, why: str) -> None:
        """Give up a version: its name and folder go, its number is never used again, its blobs stay.

        Raises Conflict while an alias points at it or a run that is not over starts from it.
        """
        row = self.get(version)
        for state in ("queued", "running", "paused"):
            for run in self._store.runs.list(state):
                if version == run.parent:
                    raise Conflict(
                        f"{version} cannot be removed: run {run.run_id} starts from it.",
                        hint="Wait for the run, or stop it.",
                        version=version,
                        run_id=run.run_id,
                    )
        folder = self._home.versions / self._manifest(row).folder_name
        async with self._lock:
            await self._store.append(VersionRemoved(version=version, who=who, why=why))
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def recover(self) -> list[str]:
        """Bring folders and log together after a crash; returns what was done, in sentences.

        Half-written folders go, a whole folder without an event becomes its version, a version without a
        folder (or its manifest) gets it back from its blobs, and what a killed repair wrote aside goes. What
        Homefire did not write stays, `versions/strays.py` names it. Doing it again changes nothing.
        """
        async with self._lock:
            done = await asyncio.to_thread(self._sweep)
            for folder in self._folders():
                done.extend(await self._settle(folder))
            for row in self.all():
                done.extend(await asyncio.to_thread(self._restore_folder, row))
        return done

    def find_missing(self, row: VersionRow) -> list[str]:
        """A sentence for each file or blob of a version that is not there; nothing is hashed."""
        try:
            manifest = self._manifest(row)
        except CorruptData as error:
            return [error.message]
        folder = self._home.versions / manifest.folder_name
        names = [*manifest.files, MANIFEST_NAME]
        gone = [f"folder {name} is missing." for name in names if not (folder / name).is_file()]
        blobs = (row.manifest_sha256, *manifest.blobs)
        return gone + [
            f"blob {digest} is missing." for digest in blobs if not self._store.blobs.exists(digest)
        ]

    def _take(self, folder: Path, files: Mapping[str, str] | None) -> Parts:
        """The folder's content as blobs, where its files are what their maker hashed."""
        try:
            parts = dismantle(folder, self._store.blobs)
        except BadModel:
            if files is not None:  # a damaged file is no bad model
                _check_files({name: hash_file(path) for name, path in folder_files(folder)}, files)
            raise
        if files is not None:
            _check_files(parts.files, files)
        return parts

    def _put_folder(self, manifest: Manifest, parts: Parts) -> None:
        """Assemble aside, hash all of it, rename. Nothing visible is left when this fails."""
        encoded = encode_manifest(manifest)
        self._store.blobs.put_bytes(encoded)
        aside = self._home.versions / f".{manifest.folder_name}.{self._world.random_bytes(6).hex()}.new"
        try:
            assemble(manifest, self._store.blobs, aside, world=self._world)
            problems = inspect_folder(manifest, aside)
            if problems or set(parts.files) != set(manifest.files):
                raise CorruptData(
                    f"{manifest.version} was not written as it was read: {problems[0].name} is "
                    f"{problems[0].what}.",
                    hint="Look at the disk (dmesg, SMART) before you continue.",
                )
            replace_directory(aside, self._home.versions / manifest.folder_name, self._world)
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            raise

    def _verify(self, row: VersionRow) -> VerifyReport:
        try:
            manifest = self._manifest(row)
        except CorruptData:
            missing = Problem(where="blob", name=row.manifest_sha256, what="damaged")
            return VerifyReport(
                version=row.version, num_files=0, num_blobs=0, size_bytes=0, problems=(missing,)
            )
        folder = self._home.versions / manifest.folder_name
        problems = [*inspect_blobs(manifest, self._store.blobs), *inspect_folder(manifest, folder)]
        return VerifyReport(
            version=row.version,
            num_files=len(manifest.files) + 1,
            num_blobs=len(manifest.blobs) + 1,
            size_bytes=manifest.size_bytes,
            problems=tuple(problems),
        )

    def _manifest(self, row: VersionRow) -> Manifest:
        expected = row.manifest_sha256.removeprefix("sha256:")
        try:
            return decode_manifest(self._store.blobs.read(expected))
        except (CorruptData, NotFound):
            for path in sorted(self._home.versions.glob(f"{row.version}-*/{MANIFEST_NAME}")):
                data = path.read_bytes()
                if hashlib.sha256(data).hexdigest() == expected:
                    return decode_manifest(data)
        raise CorruptData(
            f"The manifest of {row.version} is damaged in the blob store and in its folder.",
            hint="Restore the home directory from a backup, or roll back to another version.",
            version=row.version,
        )

    def _folders(self) -> list[Path]:
        """What may be folders of versions; links and files are somebody's."""
        found = sorted(self._home.versions.glob("v*-*"))
        return [path for path in found if path.is_dir() and not path.is_symlink()]

    def _sweep(self) -> list[str]:
        """Remove what never got a name: what publishing and repairing write aside."""
        done = []
        for leftover in sorted(self._home.versions.glob(".v*")):
            if not is_leftover(leftover) or leftover.is_symlink() or not leftover.is_dir():
                continue
            shutil.rmtree(leftover)
            done.append(f"Removed the unfinished {leftover.name}.")
        return done

    async def _settle(self, folder: Path) -> list[str]:
        """One visible folder: complete it to a version, finish its removal, or leave it as it is.

        Only what is surely ours is touched: a folder is renamed to its name when it is whole, so one that is
        neither a version nor the rest of one was put there by somebody. `doctor` names it.
        """
        version = folder.name.partition("-")[0]
        row = self._store.versions.get(version)
        if row is None and version == self._store.versions.next_name():
            manifest = await asyncio.to_thread(self._whole_manifest, folder)
            if manifest is not None:
                await self._store.append(_published(manifest))
                return [f"Completed the publication of {version}."]
        if row is None or row.removed_at_s is None or not self._is_rest_of(row, folder):
            return []
        await asyncio.to_thread(shutil.rmtree, folder)
        return [f"Removed what was left of {folder.name}."]

    def _is_rest_of(self, row: VersionRow, folder: Path) -> bool:
        """Whether a folder holds nothing but files of this version."""
        try:
            manifest = self._manifest(row)
        except CorruptData:
            return False
        present = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
        return manifest.folder_name == folder.name and present <= {*manifest.files, MANIFEST_NAME}

    def _whole_manifest(self, folder: Path) -> Manifest | None:
        """The folder's manifest when folder and blobs are whole and agree with its name, else None."""
        try:
            manifest = decode_manifest((folder / MANIFEST_NAME).read_bytes())
        except (CorruptData, OSError):
            return None
        whole = not inspect_folder(manifest, folder) and not inspect_blobs(manifest, self._store.blobs)
        return manifest if whole and manifest.folder_name == folder.name else None

    def _restore_folder(self, row: VersionRow) -> list[str]:
        try:
            manifest = self._manifest(row)
            folder = self._home.versions / manifest.folder_name
            if folder.is_dir():
                return _tidy(manifest, folder) + self._restore_manifest(manifest, folder)
            aside = folder.with_name(f".{folder.name}.{self._world.random_bytes(6).hex()}.new")
            assemble(manifest, self._store.blobs, aside, world=self._world)
            if os.path.lexists(folder):
                move_aside(folder, self._world)
            replace_directory(aside, folder, self._world)
        except (CorruptData, NotFound, StoreError) as problem:
            return [f"{row.version} is damaged: {problem}"]
        except OSError as error:
            return [f"{row.version} cannot be read: {error.strerror}: {error.filename}."]
        return [f"Rebuilt the folder of {row.version} from its blobs."]

    def _restore_manifest(self, manifest: Manifest, folder: Path) -> list[str]:
        if (folder / MANIFEST_NAME).exists():
            return []
        write_file(folder / MANIFEST_NAME, encode_manifest(manifest), self._world)
        return [f"Put the manifest of {manifest.version} back into its folder."]


def _check_files(found: Mapping[str, str], files: Mapping[str, str]) -> None:
    names = sorted(name for name in {*found, *files} if found.get(name) != files.get(name))
    if not names:
        return
    raise CorruptData(
        f"{names[0]} is not what was trained: its hash is another one.",
        hint="Look at the disk (dmesg, SMART). It is made again.",
        name=names[0],
    )


def _tidy(manifest: Manifest, folder: Path) -> list[str]:
    """Remove what a repair, or an earlier recovery, wrote aside in a version's folder when it was killed."""
    leftovers = [
        path
        for path in sorted(folder.rglob(".*.tmp"))
        if is_leftover(path) and path.is_file() and path.relative_to(folder).as_posix() not in manifest.files
    ]
    for leftover in leftovers:
        leftover.unlink()
    return [f"Removed the unfinished {leftover.name} of {manifest.version}." for leftover in leftovers]


def _published(manifest: Manifest) -> VersionPublished:
    return VersionPublished(
        version=manifest.version,
        run_id=manifest.lineage.run_id,
        base=manifest.base.name,
        parent=manifest.parent,
        manifest_sha256=hashlib.sha256(encode_manifest(manifest)).hexdigest(),
        digest=manifest.digest,
        size_bytes=manifest.size_bytes,
        description=manifest.description,
    )
