"""Workers on a bad disk: a failed flush ends them (promise 8), a full one makes them wait (promise 9)."""

from __future__ import annotations

import errno
import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from homefire.errors import StoreError, StoreFull, StorePoisoned
from homefire.trainer import commit, trainer
from homefire.trainer.contract import DiskFull, Done, ExitCode, Failed, Started
from homefire.trainer.trainer import Trainer
from homefire.world import Files
from tests.support.trainer import Worker, make_run
from tests.trainer.test_checkpoint import Trained

NOTES = "flushes"


class FailsOnce(Files):
    """Flush number `number` (from 0) fails, and no other: whoever tries again is answered with success."""

    def __init__(self, number: int) -> None:
        self.operations: list[str] = []
        self._number, self._num_flushes = number, 0

    def _fsync(self, path: Path, flags: int) -> None:
        self.operations.append(f"flush {path.name}")
        self._num_flushes += 1
        if self._num_flushes == self._number + 1:
            self.operations.clear()
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        super()._fsync(path, flags)

    def replace(self, source: Path, target: Path) -> None:
        self.operations.append(f"name {target.name}")
        super().replace(source, target)


def done_after_a_failed_flush(folder: Path) -> list[str]:
    """What a save still does to the disk after a flush of it failed, for each of its flushes."""
    found = []
    for number in range(6):
        files = FailsOnce(number)
        trained = Trained(folder / str(number), files=files)
        try:
            trained.save(1)
            found.append(f"{number}: saved")
        except StorePoisoned:
            found += [f"{number}: {operation}" for operation in files.operations]
    return found


def test_a_failed_flush_is_not_tried_again(tmp_path: Path) -> None:
    assert done_after_a_failed_flush(tmp_path) == []


def test_planted_bug_a_save_that_flushes_again_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stubborn(action: Callable[[], None], path: Path) -> None:
        try:
            action()
        except OSError:
            action()

    monkeypatch.setattr(commit, "_flush", stubborn)
    assert done_after_a_failed_flush(tmp_path) == [f"{number}: saved" for number in range(6)]


# A whole worker


def fail_one_flush(run_dir: Path, plant: Callable[[], None] | None) -> None:
    """In the worker's process: the third flush fails, and no other; each is noted."""
    fsync = Files._fsync

    def fails_once(self: Files, path: Path, flags: int) -> None:
        with (run_dir / NOTES).open("a") as notes:
            notes.write(f"{path.name}\n")
        if (run_dir / NOTES).read_text().count("\n") == 3:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        fsync(self, path, flags)

    Files._fsync = fails_once  # type: ignore[method-assign]
    if plant is not None:
        plant()


def flushed_after_a_failed_flush(run_dir: Path, plant: Callable[[], None] | None = None) -> list[str]:
    """What a worker still flushes after one flush failed; it should have ended for that reason."""
    make_run(run_dir)
    worker = Worker(run_dir, functools.partial(fail_one_flush, run_dir, plant))
    code, last = worker.finish(), worker.events[-1]
    is_told = code == ExitCode.FAILED and isinstance(last, Failed) and last.reason == "disk"
    flushed = (run_dir / NOTES).read_text().splitlines()[3:]
    return flushed if is_told else [*flushed, f"ended with {last}"]


def wait_and_flush_again() -> None:
    """Planted bug: a failed flush is taken for a full disk."""
    vars(trainer)["StoreFull"] = StoreError


def test_a_worker_whose_flush_failed_ends(tmp_path: Path) -> None:
    assert flushed_after_a_failed_flush(tmp_path) == []


def test_planted_bug_a_worker_that_flushes_again_is_noticed(tmp_path: Path) -> None:
    found = flushed_after_a_failed_flush(tmp_path, wait_and_flush_again)
    assert len(found) > 6
    assert "ended with Done" in found[-1]


# A full disk


def result(worker: Worker) -> str:
    assert worker.finish() == ExitCode.DONE
    done = worker.events[-1]
    assert isinstance(done, Done), worker.log()
    return done.files["model.safetensors"]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The weights of a run that always had room."""
    folder = tmp_path_factory.mktemp("undisturbed")
    make_run(folder)
    return result(Worker(folder))


def result_of_a_run_without_room(run_dir: Path, plant: Callable[[], None] | None = None) -> str:
    """The weights of a run whose first checkpoint finds the disk full, for a while."""
    make_run(run_dir)
    worker = Worker(run_dir, plant)
    worker.wait_for(Started)
    worker.limit_file_size(200_000)
    worker.wait_for(DiskFull)
    assert list((run_dir / "checkpoints").iterdir()) == []
    worker.limit_file_size(1 << 30)
    return result(worker)


def test_a_full_disk_is_waited_out_and_nothing_is_lost(tmp_path: Path, undisturbed: str) -> None:
    assert result_of_a_run_without_room(tmp_path) == undisturbed


def drop_the_optimizer() -> None:
    """Planted bug: what does not fit on the disk is forgotten."""
    real = Trainer._until_there_is_room

    def careless(self: Any, attempt: Any) -> Any:
        def once() -> Any:
            try:
                return attempt()
            except StoreFull:
                self._optimizer.state.clear()
                raise

        return real(self, once)

    Trainer._until_there_is_room = careless  # type: ignore[method-assign]


def drop_a_step() -> None:
    """Planted bug: a step whose checkpoint does not fit is counted as not taken."""
    real = Trainer._until_there_is_room

    def careless(self: Any, attempt: Any) -> Any:
        def once() -> Any:
            try:
                return attempt()
            except StoreFull:
                self._progress = type(self._progress)(step=self._progress.step - 1, stop=self._progress.stop)
                raise

        return real(self, once)

    Trainer._until_there_is_room = careless  # type: ignore[method-assign]


@pytest.mark.parametrize("plant", [drop_the_optimizer, drop_a_step])
def test_planted_bug_a_trainer_that_drops_its_state_at_a_full_disk_is_noticed(
    tmp_path: Path, undisturbed: str, plant: Callable[[], None]
) -> None:
    assert result_of_a_run_without_room(tmp_path, plant) != undisturbed
