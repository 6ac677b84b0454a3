from __future__ import annotations

import errno
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import nn

from homefire.errors import CorruptData, StoreFenced, StoreFull, StorePoisoned
from homefire.trainer import checkpoint, commit
from homefire.trainer.checkpoint import CheckpointStore, Randomness, TrainingState, restore, verify
from homefire.trainer.commit import Content, Lease, commit_directory
from homefire.trainer.stopping import StopState
from homefire.world import Files, World


class Killed(BaseException):
    """Stands for a SIGKILL at a file operation."""


class RecordingFiles(Files):
    """Notes every operation; at number `fail_at` (from 0) raises `failure` instead of doing it."""

    def __init__(self, fail_at: int | None = None, failure: BaseException | None = None) -> None:
        self.operations: list[tuple[str, str]] = []
        self._fail_at, self._failure = fail_at, failure or Killed()

    def fsync_file(self, path: Path) -> None:
        self._note("fsync_file", path)
        super().fsync_file(path)

    def fsync_directory(self, path: Path) -> None:
        self._note("fsync_directory", path)
        super().fsync_directory(path)

    def replace(self, source: Path, target: Path) -> None:
        self._note("replace", target)
        super().replace(source, target)

    def _note(self, operation: str, path: Path) -> None:
        if len(self.operations) == self._fail_at:
            raise self._failure
        self.operations.append((operation, path.name))


class Trained:
    """A tiny model under training, and the store of its checkpoints."""

    def __init__(
        self, run_dir: Path, *, keep: int = 2, files: Files | None = None, purpose: str = "p"
    ) -> None:
        run_dir.mkdir(exist_ok=True)
        (run_dir / "epoch").write_text("1\n")
        torch.manual_seed(0)
        self.model = nn.Linear(4, 3)
        self.trainable = dict(self.model.named_parameters())
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=0.1)
        world = World(files=files or Files())
        self.store = CheckpointStore(Lease(run_dir, 1), purpose, keep=keep, world=world)

    def step(self) -> None:
        self.optimizer.zero_grad()
        (self.model(torch.randn(2, 4)) ** 2).sum().backward()
        self.optimizer.step()

    def save(self, step: int) -> Path:
        progress = TrainingState(step=step, stop=StopState(held=1, num_learned=2))
        return self.store.save(self.trainable, self.optimizer, progress, Randomness.capture()).path


def flip_a_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_training_goes_on_from_a_checkpoint_bit_for_bit(tmp_path: Path) -> None:
    one = Trained(tmp_path)
    one.step()
    one.save(1)
    one.step()
    two = Trained(tmp_path)
    found = two.store.newest()
    progress = restore(found, two.trainable, two.optimizer)
    assert progress.step == 1
    assert progress.stop == StopState(held=1, num_learned=2)
    two.step()
    assert torch.equal(one.model.weight, two.model.weight)
    assert (
        two.save(2).joinpath("optimizer.safetensors").read_bytes()
        == one.save(2).joinpath("optimizer.safetensors").read_bytes()
    )


def test_holds_no_pickle(tmp_path: Path) -> None:
    one = Trained(tmp_path)
    one.step()
    path = one.save(1)
    assert {file.name for file in path.iterdir()} == {
        "manifest.json",
        "state.json",
        "weights.safetensors",
        "optimizer.safetensors",
    }
    for file in path.iterdir():
        if file.suffix == ".json":
            json.loads(file.read_bytes())
        else:
            with safe_open(str(file), framework="pt") as opened:
                assert opened.keys()


@pytest.mark.parametrize(
    "name", ["manifest.json", "state.json", "weights.safetensors", "optimizer.safetensors"]
)
@pytest.mark.parametrize(
    "damage", [flip_a_byte, Path.unlink, lambda path: path.write_bytes(path.read_bytes()[:-1])]
)
def test_a_damaged_checkpoint_is_passed_over_with_its_reason(
    tmp_path: Path, name: str, damage: Callable[[Path], object]
) -> None:
    one = Trained(tmp_path)
    one.step()
    good = one.save(1)
    one.step()
    bad = one.save(2)
    damage(bad / name)
    with pytest.raises(CorruptData):
        verify(bad)
    found = one.store.newest()
    assert found.path == good
    assert len(found.skipped) == 1
    assert bad.name in found.skipped[0]


def test_the_check_notices_when_hashes_are_not_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Trained(tmp_path)
    one.step()
    one.save(1)
    one.step()
    bad = one.save(2)
    data = (bad / "weights.safetensors").read_bytes()
    (bad / "weights.safetensors").write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    monkeypatch.setattr(checkpoint, "_is_intact", lambda *_: True)
    assert one.store.newest().path == bad


def test_a_checkpoint_of_other_data_is_not_resumed(tmp_path: Path) -> None:
    Trained(tmp_path).save(1)
    found = Trained(tmp_path, purpose="other").store.newest()
    assert found.path is None
    assert "another recipe" in found.skipped[0]


def test_older_ones_go_only_after_the_newer_was_read_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Trained(tmp_path, keep=1)
    first = one.save(1)

    def notice(path: Path) -> None:
        assert first.exists()
        flip_a_byte(path / "weights.safetensors")
        verify(path)

    monkeypatch.setattr(checkpoint, "verify", notice)
    with pytest.raises(CorruptData):
        one.save(2)
    monkeypatch.undo()
    assert one.store.newest().path == first
    third = one.save(3)
    assert [path.name for path in one.store.folder.iterdir()] == [third.name]


def num_operations(tmp_path: Path) -> int:
    files = RecordingFiles()
    trained = Trained(tmp_path / "count", keep=1)
    trained.save(1)
    Trained(tmp_path / "count", keep=1, files=files).save(2)
    return len(files.operations)


def torn_names(tmp_path: Path) -> list[str]:
    """Kills a save at each of its file operations in turn; names of checkpoints that were visible but not
    whole, and of kills after which no whole checkpoint was left."""
    torn = []
    for number in range(num_operations(tmp_path)):
        run_dir = tmp_path / f"kill-{number}"
        Trained(run_dir, keep=1).save(1)
        with pytest.raises(Killed):
            Trained(run_dir, keep=1, files=RecordingFiles(number)).save(2)
        found = Trained(run_dir).store.newest()
        torn += list(found.skipped)
        if found.path is None:
            torn.append(f"nothing left after {number}")
        assert all(not path.name.startswith(".") for path in (run_dir / "checkpoints").iterdir())
    return torn


def test_a_kill_at_any_file_operation_of_a_save_leaves_only_whole_checkpoints(tmp_path: Path) -> None:
    assert torn_names(tmp_path) == []


def write_in_place(target: Path, files: dict[str, Content], *, lease: Lease, world: World) -> None:
    target.mkdir()
    for name, content in files.items():
        commit._write(target / name, content)
        world.files.fsync_file(target / name)
    with lease.held():
        world.files.fsync_directory(target.parent)


def test_the_check_notices_a_save_that_fills_its_directory_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "commit_directory", write_in_place)
    assert torn_names(tmp_path) != []


def unflushed(files: RecordingFiles, target: Path) -> set[str]:
    """Which parts of a commit were not flushed in time."""
    named = files.operations.index(("replace", target.name))
    before, after = files.operations[:named], files.operations[named:]
    missing = {path.name for path in target.iterdir() if ("fsync_file", path.name) not in before}
    if not any(operation == "fsync_directory" and name.endswith(".tmp") for operation, name in before):
        missing.add("the new directory")
    if ("fsync_directory", target.parent.name) not in after:
        missing.add("the name")
    if ("fsync_directory", target.parent.parent.name) not in before:
        missing.add("the folder of checkpoints")
    return missing


def test_every_byte_is_flushed_before_it_has_a_name_and_the_name_after(tmp_path: Path) -> None:
    files = RecordingFiles()
    path = Trained(tmp_path, files=files).save(1)
    assert unflushed(files, path) == set()


def test_the_check_notices_missing_flushes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commit, "flush_tree", lambda *_: None)
    files = RecordingFiles()
    path = Trained(tmp_path, files=files).save(1)
    assert "weights.safetensors" in unflushed(files, path)


def test_the_check_notices_a_folder_whose_name_is_not_flushed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "ensure_directory", lambda folder, _: folder.mkdir(exist_ok=True))
    files = RecordingFiles()
    path = Trained(tmp_path, files=files).save(1)
    assert unflushed(files, path) == {"the folder of checkpoints"}


def test_a_flush_that_finds_no_room_is_a_failed_flush(tmp_path: Path) -> None:
    files = RecordingFiles(0, OSError(errno.ENOSPC, "No space left on device"))
    with pytest.raises(StorePoisoned):
        Trained(tmp_path, files=files).save(1)


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    trained = Trained(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", refuse)
        with pytest.raises(StoreFull):
            trained.save(1)
    assert list(trained.store.folder.iterdir()) == []
    trained.save(1)


def test_a_lost_lease_can_neither_commit_nor_delete(tmp_path: Path) -> None:
    trained = Trained(tmp_path)
    first = trained.save(1)
    (tmp_path / "epoch").write_text("2\n")
    with pytest.raises(StoreFenced):
        trained.save(2)
    assert list(trained.store.folder.iterdir()) == [first]


def test_a_result_replaces_an_older_one_whole(tmp_path: Path) -> None:
    (tmp_path / "epoch").write_text("1\n")
    lease, target = Lease(tmp_path, 1), tmp_path / "final"
    (tmp_path / "source").write_bytes(b"copied")
    commit_directory(target, {"a": b"1", "b": b"2"}, lease=lease, world=World())
    commit_directory(target, {"a": b"3", "c": tmp_path / "source"}, lease=lease, world=World())
    assert {path.name: path.read_bytes() for path in target.iterdir()} == {"a": b"3", "c": b"copied"}
