"""A version's two forms and the way between them: blobs in the store, and the readable folder.

`dismantle` turns a model folder into blobs and a manifest's entries, `assemble` turns blobs into a folder,
`inspect_folder` and `inspect_blobs` hash every byte of either, `repair` restores each from the other. All of it is
blocking file work, bounded in memory; callers put it on a thread. Nothing here knows the database.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec

from homefire.catalog.safetensors_header import ITEM_BITS
from homefire.errors import BadModel, CorruptData, NotFound, quoted
from homefire.machine.hashing import hash_file
from homefire.store.blobs import BlobStore
from homefire.store.durable import (
    discarded_on_error,
    make_directory,
    move_aside,
    translated_os_errors,
    write_file,
)
from homefire.versions.manifest import (
    MANIFEST_NAME,
    Manifest,
    TensorEntry,
    WeightEntry,
    encode_manifest,
)
from homefire.versions.weight_file import CHUNK_BYTES, read_weight_file
from homefire.world import World

WEIGHT_SUFFIX = ".safetensors"


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """What a manifest says of content."""

    tensors: dict[str, TensorEntry]
    weights: dict[str, WeightEntry]
    files: dict[str, str]
    size_bytes: int


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is not as it was written. `name` is a relative path or a blob's digest."""

    where: Literal["folder", "blob"]
    name: str
    what: Literal["missing", "damaged", "unexpected"]

    def __str__(self) -> str:
        return f"{self.where} {self.name} is {self.what}"


def folder_files(folder: Path) -> Iterator[tuple[str, Path]]:
    """(relative path with `/`, path) of every file below, sorted; the manifest is not among them.

    Raises BadModel for links and other things that are not regular files.
    """
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise BadModel(
                f"{path.name} is not a regular file; a version holds nothing else.", path=str(path)
            )
        relative = path.relative_to(folder).as_posix()
        if path.is_file() and relative != MANIFEST_NAME:
            yield relative, path


def dismantle(folder: Path, blobs: BlobStore) -> Parts:
    """Put every tensor and every other file into the blob store. Known blobs cost a read, no space."""
    tensors: dict[str, TensorEntry] = {}
    weights: dict[str, WeightEntry] = {}
    files: dict[str, str] = {}
    size_bytes = 0
    for relative, path in folder_files(folder):
        size_bytes += path.stat().st_size
        if path.suffix != WEIGHT_SUFFIX:
            files[relative] = blobs.put_file(path)
            continue
        parts = read_weight_file(path)
        for span in parts.tensors:
            if span.name in tensors:
                raise BadModel(
                    f"The tensor {quoted(span.name)} is in two files of {folder.name}.", path=str(path)
                )
            tensors[span.name] = TensorEntry(
                dtype=span.dtype,
                shape=span.shape,
                sha256=blobs.put_file(path, offset=span.start, size_bytes=span.size_bytes),
            )
        weights[relative] = WeightEntry(
            header_sha256=blobs.put_bytes(parts.header), tensors=tuple(span.name for span in parts.tensors)
        )
        files[relative] = hash_file(path)
    if not weights:
        raise BadModel(
            f"{folder.name} holds no {WEIGHT_SUFFIX} file, so it is not a version.", path=str(folder)
        )
    return Parts(tensors=tensors, weights=weights, files=files, size_bytes=size_bytes)


def assemble(manifest: Manifest, blobs: BlobStore, target: Path, *, world: World) -> None:
    """Write the readable folder at `target` (which must not exist) from verified blobs."""
    make_directory(target, world)
    for relative in manifest.files:
        assemble_file(manifest, relative, blobs, target / relative, world=world)
    write_file(target / MANIFEST_NAME, encode_manifest(manifest), world)


def assemble_file(manifest: Manifest, relative: str, blobs: BlobStore, path: Path, *, world: World) -> None:
    """Write one file from its blobs, whole or not at all; CorruptData if it is not what it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{world.random_bytes(6).hex()}.tmp")
    digest = hashlib.sha256()
    with translated_os_errors(path), discarded_on_error(aside):
        with aside.open("wb") as stream:
            for blob in blobs_of_file(manifest, relative):
                with blobs.open_verified(blob) as source:
                    while piece := source.read(CHUNK_BYTES):
                        digest.update(piece)
                        stream.write(piece)
        if digest.hexdigest() != manifest.files[relative]:
            raise CorruptData(f"The blobs of {relative} do not make the file that was published.")
        world.files.fsync_file(aside)
        world.files.replace(aside, path)
        world.files.fsync_directory(path.parent)


def blobs_of_file(manifest: Manifest, relative: str) -> tuple[str, ...]:
    """The blobs that, one after another, are this file."""
    weights = manifest.weights.get(relative)
    if weights is None:
        return (manifest.files[relative],)
    return (weights.header_sha256, *(manifest.tensors[name].sha256 for name in weights.tensors))


def inspect_folder(manifest: Manifest, folder: Path) -> list[Problem]:
    """Hash every file of the folder."""
    if not folder.is_dir():
        return [Problem(where="folder", name=folder.name, what="missing")]
    problems = []
    expected = {
        **manifest.files,
        MANIFEST_NAME: hashlib.sha256(encode_manifest(manifest)).hexdigest(),
    }
    for relative, digest in sorted(expected.items()):
        path = folder / relative
        if not path.is_file() or path.is_symlink():
            problems.append(Problem(where="folder", name=relative, what="missing"))
        elif not _has_hash(path, digest):
            problems.append(Problem(where="folder", name=relative, what="damaged"))
    present = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
    problems.extend(
        Problem(where="folder", name=name, what="unexpected") for name in sorted(present - set(expected))
    )
    return problems


def _has_hash(path: Path, digest: str) -> bool:
    try:
        return hash_file(path) == digest
    except OSError:
        return False  # what cannot be read is as good as damaged, and is made again


def inspect_blobs(manifest: Manifest, blobs: BlobStore) -> list[Problem]:
    """Hash every blob of the version, the manifest's own included."""
    problems = []
    own = hashlib.sha256(encode_manifest(manifest)).hexdigest()
    for digest in (own, *manifest.blobs):
        try:
            blobs.verify(digest)
        except NotFound:
            problems.append(Problem(where="blob", name=digest, what="missing"))
        except CorruptData:
            problems.append(Problem(where="blob", name=digest, what="damaged"))
    return problems


def repair(manifest: Manifest, folder: Path, blobs: BlobStore, *, world: World) -> None:
    """Repair blobs from the folder, then the folder from blobs. What neither holds whole raises CorruptData."""
    for problem in inspect_blobs(manifest, blobs):
        _repair_blob(manifest, folder, blobs, problem.name)
    if os.path.lexists(folder) and not folder.is_dir():
        move_aside(folder, world)
    make_directory(folder, world)
    for problem in inspect_folder(manifest, folder):
        path = folder / problem.name
        if problem.what == "unexpected":
            if os.path.lexists(path):  # it may have been moved with the folder it was in
                _move_out(path, folder, world)
            continue
        if path.is_symlink() or path.is_dir():
            _move_out(path, folder, world)
        if problem.name == MANIFEST_NAME:
            write_file(path, encode_manifest(manifest), world)
        else:
            assemble_file(manifest, problem.name, blobs, path, world=world)


def _move_out(path: Path, folder: Path, world: World) -> None:
    """Put somebody's file beside the version's folder: a file more may change how the model is read."""
    outside = folder.with_name(f"{folder.name}.{path.name}")
    world.files.replace(path, outside)
    move_aside(outside, world)
    world.files.fsync_directory(path.parent)


def _repair_blob(manifest: Manifest, folder: Path, blobs: BlobStore, digest: str) -> None:
    encoded = encode_manifest(manifest)
    if hashlib.sha256(encoded).hexdigest() == digest:
        blobs.put_bytes(encoded)
        return
    for path, offset, size_bytes in _sources(manifest, folder, digest):
        if _range_sha256(path, offset, size_bytes) == digest:
            blobs.put_file(path, offset=offset, size_bytes=size_bytes)
            return
    raise CorruptData(
        f"A part of {manifest.version} is damaged in the blob store and in its folder.",
        hint="Restore the home directory from a backup, or roll back to another version.",
        version=manifest.version,
        digest=digest,
    )


def _sources(manifest: Manifest, folder: Path, digest: str) -> Iterator[tuple[Path, int, int]]:
    """Where in the folder the bytes of a blob should be: (path, offset, size in bytes)."""
    for relative in manifest.files:
        path = folder / relative
        if not path.is_file():
            continue
        size_bytes = path.stat().st_size
        weights = manifest.weights.get(relative)
        if weights is None:
            if manifest.files[relative] == digest:
                yield path, 0, size_bytes
            continue
        sizes = [_tensor_bytes(manifest.tensors[name]) for name in weights.tensors]
        offset = size_bytes - sum(sizes)
        if weights.header_sha256 == digest and offset > 0:
            yield path, 0, offset
        for name, size in zip(weights.tensors, sizes, strict=True):
            if manifest.tensors[name].sha256 == digest and offset >= 0:
                yield path, offset, size
            offset += size


def _tensor_bytes(entry: TensorEntry) -> int:
    num_elements = 1
    for size in entry.shape:
        num_elements *= size
    return num_elements * ITEM_BITS[entry.dtype] // 8


def _range_sha256(path: Path, offset: int, size_bytes: int) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        stream.seek(offset, os.SEEK_SET)
        while size_bytes and (piece := stream.read(min(CHUNK_BYTES, size_bytes))):
            digest.update(piece)
            size_bytes -= len(piece)
    return digest.hexdigest()
