"""Two workers on one run directory: only the newer one may give anything a name (promise 7)."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from homefire.errors import StoreFenced
from homefire.trainer.checkpoint import CheckpointStore
from homefire.trainer.commit import Lease, commit_directory
from homefire.trainer.contract import ExitCode, Stepped
from homefire.training.preparation import raise_fence
from homefire.world import Files, World
from tests.support.trainer import Worker, make_run
from tests.trainer.test_checkpoint import RecordingFiles, Trained


class TakenOver(Files):
    """Lets another worker take the run over at file operation `number`, unless a commit holds the lock."""

    def __init__(self, number: int, take_over: Callable[[], None], run_dir: Path) -> None:
        self._left, self._take_over, self._run_dir = number, take_over, run_dir
        self.seen: dict[str, bytes] | None = None

    def fsync_file(self, path: Path) -> None:
        self._step()
        super().fsync_file(path)

    def fsync_directory(self, path: Path) -> None:
        self._step()
        super().fsync_directory(path)

    def replace(self, source: Path, target: Path) -> None:
        self._step()
        super().replace(source, target)

    def _step(self) -> None:
        if self._left == 0 and not is_locked(self._run_dir):
            self._take_over()
            self.seen = named(self._run_dir)
        self._left -= 1


def is_locked(run_dir: Path) -> bool:
    with (run_dir / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def named(run_dir: Path) -> dict[str, bytes]:
    """What has a name in the run, by path."""
    found = [path for folder in ("checkpoints", "final") for path in (run_dir / folder).rglob("*")]
    hidden = [path for path in found if any(part.startswith(".") for part in path.relative_to(run_dir).parts)]
    return {
        path.relative_to(run_dir).as_posix(): path.read_bytes()
        for path in found
        if path.is_file() and path not in hidden
    }


def written_after_losing_the_run(folder: Path) -> list[str]:
    """One worker saves, another takes the run over at each moment of that in turn, saves and ends; what the
    older one still changed."""
    counted = RecordingFiles()
    save_and_end(folder / "counted", files=counted, epoch=1)
    changed: list[str] = []
    num_taken = 0
    for number in range(len(counted.operations)):
        run_dir = folder / str(number)
        Trained(run_dir)

        def take_over(run_dir: Path = run_dir) -> None:
            save_and_end(run_dir, files=Files(), epoch=2)

        files = TakenOver(number, take_over, run_dir)
        with contextlib.suppress(StoreFenced):
            save_and_end(run_dir, files=files, epoch=1)
        if files.seen is not None:
            num_taken += 1
            changed += sorted(f"{number}: {path}" for path, _ in named(run_dir).items() ^ files.seen.items())
    assert num_taken > 5, "the run was hardly ever taken over"
    return changed


def save_and_end(run_dir: Path, *, files: Files, epoch: int) -> None:
    """What a worker does with its run: a checkpoint that replaces an older one, and the result."""
    trained = Trained(run_dir)
    (run_dir / "epoch").write_text(f"{epoch}\n")
    world = World(files=files)
    trained.store = CheckpointStore(Lease(run_dir, epoch), "p", keep=1, world=world)
    for step in range(epoch):
        trained.step()
        trained.save(step + 1)
    content = {"model.safetensors": f"of worker {epoch}".encode()}
    commit_directory(run_dir / "final", content, lease=trained.store.lease, world=world)


def test_a_worker_that_lost_its_run_names_and_deletes_nothing_at_any_moment(tmp_path: Path) -> None:
    assert written_after_losing_the_run(tmp_path) == []


@contextlib.contextmanager
def without_epoch(self: Lease) -> Iterator[None]:
    """The lock alone keeps two commits apart, not two workers."""
    descriptor = os.open(self.run_dir / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def check_only_before(patch: pytest.MonkeyPatch) -> None:
    """The epoch is compared when a commit begins, not inside its last move."""
    held = Lease.held

    def early(target: Path, files: dict[str, bytes | Path], *, lease: Lease, world: World) -> None:
        with held(lease):
            pass
        commit_directory(target, files, lease=lease, world=world)

    patch.setattr(Lease, "held", without_epoch)
    patch.setattr("homefire.trainer.checkpoint.commit_directory", early)


def never_check(patch: pytest.MonkeyPatch) -> None:
    """The epoch is never compared."""
    patch.setattr(Lease, "held", without_epoch)


@pytest.mark.parametrize("plant", [never_check, check_only_before])
def test_planted_bug_a_commit_that_does_not_compare_the_epoch_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plant: Callable[[pytest.MonkeyPatch], None]
) -> None:
    plant(monkeypatch)
    changed = written_after_losing_the_run(tmp_path)
    assert any("checkpoints/step-00000001" in path for path in changed), changed


# A whole worker


def end_without_the_lease(
    run_dir: Path, *, prepare: Callable[[], None] | None = None
) -> tuple[int, list[str]]:
    """A worker loses its run while it trains; how it ends, and what it named all the same."""
    make_run(run_dir, checkpoint_every_steps=1000)
    worker = Worker(run_dir, prepare)
    worker.wait_for(Stepped)
    raise_fence(run_dir, 2, World())
    return worker.finish(), sorted(named(run_dir))


def ignore_the_epoch() -> None:
    Lease.held = without_epoch  # type: ignore[method-assign]


def test_a_worker_that_lost_its_run_ends_and_leaves_nothing(tmp_path: Path) -> None:
    assert end_without_the_lease(tmp_path) == (ExitCode.FENCED, [])


def test_planted_bug_a_worker_that_ignores_its_epoch_is_noticed(tmp_path: Path) -> None:
    code, left = end_without_the_lease(tmp_path, prepare=ignore_the_epoch)
    assert code == ExitCode.DONE
    assert "final/model.safetensors" in left
