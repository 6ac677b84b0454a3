"""Checkpoints: weights, optimizer, randomness, position and stop rule in one atomic, hashed, flushed move.

    checkpoints/step-00000040-<first 16 hex digits of the SHA-256 of manifest.json>/
        manifest.json           SHA-256 and size of each other file
        state.json              position, stop rule, optimizer settings, random generators
        weights.safetensors     what is trained
        optimizer.safetensors   AdamW's moments and step counts

Promises: a checkpoint is whole or not there; the newest one whose every byte hashes right is resumed,
damaged ones are passed over with a reason; an older one is deleted only after a newer was read back and
hashed; a worker whose lease is lost commits nothing. No pickle. Costs one write, one flush and one read of
the run's state.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import nn

from homefire.errors import CorruptData
from homefire.machine.hashing import hash_file
from homefire.trainer.commit import (
    Content,
    Lease,
    commit_directory,
    ensure_directory,
    remove_directory,
    sweep,
)
from homefire.trainer.contract import CHECKPOINTS
from homefire.trainer.stopping import StopState
from homefire.trainer.tensor_file import TensorFile, read_tensor_file
from homefire.world import World

MANIFEST, STATE = "manifest.json", "state.json"
WEIGHTS, OPTIMIZER = "weights.safetensors", "optimizer.safetensors"
_NAME = re.compile(r"step-(\d{8})-([0-9a-f]{16})")


class TrainingState(msgspec.Struct, frozen=True, kw_only=True):
    """How far a run is. Everything that decides later steps is here, in the tensors, or in the spec."""

    step: int = 0
    """Finished steps: the position of the data plan."""
    stop: StopState = StopState()
    loss: float = 0.0
    train_s: float = 0.0
    metrics_bytes: int = 0
    """Length of the metrics file at this step; what follows belongs to steps that will be taken again."""
    losses_bytes: int = 0


class Randomness(msgspec.Struct, frozen=True):
    """The states of the random generators a step may draw from (dropout draws from torch's)."""

    torch: bytes
    python: tuple[int, tuple[int, ...], float | None]
    cuda: tuple[bytes, ...] = ()
    """Of each GPU, where one is used."""
    mps: bytes = b""

    @classmethod
    def capture(cls) -> Randomness:
        """The generators as they are now."""
        version, state, gauss = random.getstate()
        uses_cuda = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
        cuda = torch.cuda.get_rng_state_all() if uses_cuda else []
        mps = [torch.mps.get_rng_state()] if torch.backends.mps.is_available() else []
        return cls(
            _to_bytes(torch.get_rng_state()),
            (version, state, gauss),
            cuda=tuple(_to_bytes(each) for each in cuda),
            mps=b"".join(_to_bytes(each) for each in mps),
        )

    def restore(self) -> None:
        """Set the generators back."""
        torch.set_rng_state(_to_state(self.torch))
        random.setstate(self.python)
        if self.cuda:
            torch.cuda.set_rng_state_all([_to_state(each) for each in self.cuda])
        if self.mps:
            torch.mps.set_rng_state(_to_state(self.mps))


def _to_bytes(state: torch.Tensor) -> bytes:
    return state.cpu().numpy().tobytes()


def _to_state(data: bytes) -> torch.Tensor:
    return torch.frombuffer(bytearray(data), dtype=torch.uint8)


class _FileEntry(msgspec.Struct, frozen=True):
    sha256: str
    size_bytes: int


class _Manifest(msgspec.Struct, frozen=True):
    files: dict[str, _FileEntry]


class _State(msgspec.Struct, frozen=True):
    purpose: str
    progress: TrainingState
    optimizer_groups: list[dict[str, Any]]
    randomness: Randomness


@dataclass(frozen=True, slots=True)
class Saved:
    """A checkpoint that was read back and hashed."""

    path: Path
    size_bytes: int


@dataclass(frozen=True, slots=True)
class ResumePoint:
    """The checkpoint to continue from, fully verified and read; `skipped` says what was passed over, and why."""

    path: Path | None
    state: _State | None
    tensors: Mapping[str, Mapping[str, torch.Tensor]]
    skipped: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CheckpointStore:
    """The checkpoints of one run. `purpose` identifies spec and data: a checkpoint of another is not
    resumed."""

    lease: Lease
    purpose: str
    keep: int
    world: World

    @property
    def folder(self) -> Path:
        """Where they lie."""
        return self.lease.run_dir / CHECKPOINTS

    def save(
        self,
        trainable: Mapping[str, nn.Parameter],
        optimizer: torch.optim.Optimizer,
        progress: TrainingState,
        randomness: Randomness,
    ) -> Saved:
        """Commit a checkpoint, read it back, then delete the oldest beyond `keep`. Errors as
        `commit_directory`.

        Raises:
            CorruptData: what was read back is not what was written.
        """
        tensors, groups = _optimizer_tensors(optimizer)
        tensor_files = {WEIGHTS: TensorFile(trainable), OPTIMIZER: TensorFile(tensors)}
        state = msgspec.json.encode(_State(self.purpose, progress, groups, randomness))
        entries = {name: _FileEntry(*content.hash()) for name, content in tensor_files.items()}
        entries[STATE] = _FileEntry(hashlib.sha256(state).hexdigest(), len(state))
        manifest = msgspec.json.encode(_Manifest(entries), order="sorted")
        target = self.folder / f"step-{progress.step:08d}-{hashlib.sha256(manifest).hexdigest()[:16]}"
        files: dict[str, Content] = {**tensor_files, STATE: state, MANIFEST: manifest}
        ensure_directory(self.folder, self.world)
        commit_directory(target, files, lease=self.lease, world=self.world)
        verify(target)
        self._delete_older(target)
        return Saved(target, sum(entry.size_bytes for entry in entries.values()))

    def newest(self) -> ResumePoint:
        """The newest whole checkpoint of this spec, and why newer ones were passed over."""
        if not self.folder.is_dir():
            return ResumePoint(None, None, {}, ())
        sweep(self.folder)
        skipped: list[str] = []
        for path in self._newest_first():
            try:
                state, tensors = _read(path)
            except CorruptData as error:
                skipped.append(error.message)
                continue
            if state.purpose == self.purpose:
                return ResumePoint(path, state, tensors, tuple(skipped))
            skipped.append(f"{path.name} belongs to another recipe or other data.")
        return ResumePoint(None, None, {}, tuple(skipped))

    def _newest_first(self) -> Iterator[Path]:
        paths = [path for path in self.folder.iterdir() if _NAME.fullmatch(path.name)]
        return iter(sorted(paths, key=lambda path: (path.name, path.stat().st_mtime_ns), reverse=True))

    def _delete_older(self, newest: Path) -> None:
        others = [path for path in self._newest_first() if path != newest]
        with self.lease.held():
            for path in others[max(0, self.keep - 1) :]:
                remove_directory(path, self.world)


def restore(
    found: ResumePoint, trainable: Mapping[str, nn.Parameter], optimizer: torch.optim.Optimizer
) -> TrainingState:
    """Set weights, optimizer and random generators to a checkpoint; returns how far it was.

    Raises:
        CorruptData: the checkpoint holds other tensors than this run trains.
    """
    assert found.state is not None
    weights = found.tensors[WEIGHTS]
    if {n: p.shape for n, p in trainable.items()} != {n: t.shape for n, t in weights.items()}:
        raise CorruptData("The checkpoint's tensors are not those of this model.")
    with torch.no_grad():
        for name, parameter in trainable.items():
            parameter.copy_(weights[name])
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in found.tensors[OPTIMIZER].items():
        number, _, part = name.partition(".")
        state.setdefault(int(number), {})[part] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": found.state.optimizer_groups})
    found.state.randomness.restore()
    return found.state.progress


def verify(path: Path) -> None:
    """CorruptData, naming the file, unless every byte of the checkpoint hashes to its manifest, and that to
    its name."""
    manifest = _read_manifest(path)
    for name, entry in manifest.files.items():
        file = path / name
        if not file.is_file() or file.stat().st_size != entry.size_bytes or hash_file(file) != entry.sha256:
            raise CorruptData(f"{path.name}/{name} is damaged.", path=str(file))


def _read_manifest(path: Path) -> _Manifest:
    match = _NAME.fullmatch(path.name)
    try:
        data = (path / MANIFEST).read_bytes()
    except OSError as error:
        raise CorruptData(
            f"{path.name} has no readable manifest: {error.strerror}.", path=str(path)
        ) from error
    if match is None or hashlib.sha256(data).hexdigest()[:16] != match[2]:
        raise CorruptData(f"{path.name}/{MANIFEST} is damaged.", path=str(path))
    try:
        return msgspec.json.decode(data, type=_Manifest)
    except msgspec.DecodeError as error:
        raise CorruptData(f"{path.name}/{MANIFEST} is of another format: {error}.", path=str(path)) from error


def _read(path: Path) -> tuple[_State, dict[str, Mapping[str, torch.Tensor]]]:
    """All of a checkpoint; the very bytes that were hashed are those that are used."""
    entries = _read_manifest(path).files
    try:
        data = (path / STATE).read_bytes()
    except OSError as error:
        raise CorruptData(f"{path.name}/{STATE} cannot be read: {error.strerror}.", path=str(path)) from error
    tensors: dict[str, Mapping[str, torch.Tensor]] = {}
    found = {STATE: hashlib.sha256(data).hexdigest()}
    for name in (WEIGHTS, OPTIMIZER):
        try:
            tensors[name], found[name] = read_tensor_file(path / name)
        except CorruptData as error:
            raise CorruptData(f"{path.name}/{error.message}", path=str(path / name)) from error
    for name, sha256 in found.items():
        if name not in entries or not _is_intact(sha256, entries[name]):
            raise CorruptData(f"{path.name}/{name} is damaged.", path=str(path / name))
    try:
        return msgspec.json.decode(data, type=_State), tensors
    except msgspec.DecodeError as error:
        raise CorruptData(f"{path.name} is of another format: {error}.", path=str(path)) from error


def _is_intact(sha256: str, entry: _FileEntry) -> bool:
    return sha256 == entry.sha256


def _optimizer_tensors(
    optimizer: torch.optim.Optimizer,
) -> tuple[dict[str, torch.Tensor], list[dict[str, Any]]]:
    state = optimizer.state_dict()
    tensors = {
        f"{number}.{part}": value.detach().contiguous()
        for number, parts in state["state"].items()
        for part, value in parts.items()
    }
    return tensors, state["param_groups"]
