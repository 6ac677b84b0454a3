"""One damaged thing never stops the others, and what was damaged is made again or said."""

from __future__ import annotations

import asyncio
import errno
import json
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from homefire.config.schema import Settings, TrainingSettings
from homefire.errors import EngineError
from homefire.store.nouns.runs import RunMoved, RunRow
from homefire.store.nouns.versions import VersionRow
from homefire.training import completion, dispatcher, preparation, run_lease, run_preparation
from homefire.training.dispatcher import Dispatcher
from homefire.training.supervisor import TrainerProcess
from tests.support.small_models import EngineRoom
from tests.support.small_training import SmallTraining, small_training

SLOW = json.dumps({"steps": 30, "step_s": 0.02})


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be done now is tried again soon."""
    monkeypatch.setattr(dispatcher, "RETRY_S", 0.01)
    monkeypatch.setattr(dispatcher, "MAX_RETRY_S", 0.02)
    monkeypatch.setattr("homefire.training.failures.FIRST_PAUSE_S", {})
    monkeypatch.setattr("homefire.training.failures.FIRST_PAUSE_OTHER_S", 0.01)


@asynccontextmanager
async def training(root: Path, **settings: Any) -> AsyncIterator[SmallTraining]:
    asked = TrainingSettings(auto=False, quiet_s=0.0, **settings)
    async with small_training(root, Settings(training=asked)) as small:
        yield small


async def teach(small: SmallTraining, question: str, answer: str = "a") -> RunRow:
    run = await small.daemon.queue([await small.correct(question, answer)])
    return await small.ended(run.run_id)


def version_of(small: SmallTraining, run: RunRow) -> VersionRow:
    assert run.version is not None
    row = small.store.versions.get(run.version)
    assert row is not None
    return row


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def delete(path: Path) -> None:
    path.unlink()


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [flip, delete, empty])
@pytest.mark.parametrize(
    "name", ["parent.json", "examples.jsonl", "retained.jsonl", "replay.jsonl", "spec.json"]
)
async def test_a_run_whose_files_were_damaged_starts_over_and_learns_what_was_taught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, damage: Callable[[Path], None]
) -> None:
    monkeypatch.setenv("STAND_IN", SLOW)
    async with training(tmp_path) as small:
        run = await small.daemon.queue([await small.correct("Where is the key?", "Under the pot.")])
        await small.until(run.run_id, lambda progress: progress.step > 2)
        await small.daemon.signal(run.run_id, "pause", who="me", why="x")
        path = small.home.runs / run.run_id / name
        if damage is flip and not path.stat().st_size:
            pytest.skip("this run has nothing to retain: there is no byte to flip")
        damage(path)
        monkeypatch.setenv("STAND_IN", "{}")
        await small.daemon.signal(run.run_id, "resume", who="me", why="x")
        ended = await small.ended(run.run_id)
        assert (ended.state, ended.version) == ("done", "v001")
        (folder,) = small.home.versions.glob("v001-*")
        assert json.loads((folder / "answers.json").read_text())["Where is the key?"] == "Under the pot."
        moves = [recorded.event for recorded in small.store.events() if isinstance(recorded.event, RunMoved)]
        said = [move.why for move in moves]
        if damage is not empty or name != "retained.jsonl":
            assert any("damaged" in why for why in said) == (damage is not delete or name != "spec.json"), (
                said
            )
        # Paused with a checkpoint at some step; what starts over says that it is at none.
        paused = next(move.step for move in moves if move.state == "paused")
        assert paused is not None
        assert paused > 0
        assert all(move.step == 0 for move in moves if "starts over" in move.why)


@pytest.mark.parametrize("name", ["model.safetensors", "answers.json", "manifest.json"])
async def test_a_result_that_changed_between_training_and_publishing_does_not_go_live(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The server may have been restarted in between: the hashes are the worker's, on the disk."""
    real, num_reads = completion._read_run, 0

    def damaged_once(run_dir: Path) -> Any:
        nonlocal num_reads
        num_reads += 1
        if num_reads == 1:
            flip(run_dir / "final" / name)
        return real(run_dir)

    monkeypatch.setattr(completion, "_read_run", damaged_once)
    async with training(tmp_path) as small:
        run = await teach(small, "q")
        assert (run.state, num_reads) == ("done", 2)
        answers = json.loads(next(small.home.versions.glob("v001-*/answers.json")).read_text())
        assert answers["q"] == "a"
        assert len(small.store.versions.list()) == 1


async def test_what_a_run_made_is_kept_until_its_version_is_judged_and_promoted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever ends the server before: only a run that is over has given back its space."""
    left: dict[str, bool] = {}

    def looking(name: str) -> Callable[..., Any]:
        real = getattr(completion.Completion, name)

        async def look(self: completion.Completion, run: RunRow, version: VersionRow) -> Any:
            done = await real(self, run, version)
            left[name] = (tmp_path / "home" / "runs" / run.run_id / "final").exists()
            return done

        return look

    for name in ("_judge", "_promote"):
        monkeypatch.setattr(completion.Completion, name, looking(name))
    async with training(tmp_path) as small:
        assert small.home.root == tmp_path / "home"
        run = await teach(small, "q")
        assert left == {"_judge": True, "_promote": True}
        assert not (small.home.runs / run.run_id / "final").exists()


async def test_a_result_without_its_hashes_is_no_result(tmp_path: Path) -> None:
    (tmp_path / "final").mkdir()
    assert not preparation.has_result(tmp_path)


async def test_a_result_whose_parent_nobody_knows_is_not_taken_for_one_of_the_present_parent(
    tmp_path: Path,
) -> None:
    (tmp_path / "final").mkdir()
    (tmp_path / "final" / "manifest.json").write_bytes(b"{}")
    assert preparation.preparation_of(tmp_path) == "damaged"


async def test_a_published_version_is_judged_though_its_runs_files_are_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class PowerCut(Exception):
        pass

    async def cut(*_: Any, **__: Any) -> Any:
        raise OSError(errno.EMFILE, "Too many open files")

    async with training(tmp_path) as small:
        with monkeypatch.context() as patched:
            patched.setattr(completion.GateEvaluator, "judge", cut)
            run = await small.daemon.queue([await small.correct("q", "a")])
            await small.until(run.run_id, lambda progress: progress.version is not None)
            for file in ("parent.json", "examples.jsonl", "spec.json"):
                (small.home.runs / run.run_id / file).unlink()
        ended = await small.ended(run.run_id)
        assert (ended.state, ended.version) == ("done", "v001")
        assert version_of(small, ended).gate_passed


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENOSPC, errno.ENOMEM])
@pytest.mark.parametrize("place", [(run_preparation, "write_spec"), (run_lease, "raise_fence")])
async def test_what_the_machine_lacks_fails_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, place: tuple[Any, str]
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise OSError(number, "not now")

    async with training(tmp_path, max_attempts=2) as small:
        with monkeypatch.context() as patched:
            patched.setattr(*place, fail)
            run = await small.daemon.queue([await small.correct("q", "a")])
            while small.daemon._dispatcher._num_troubles < 4:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
            assert "not now" in (small.daemon.waiting_reason() or "")
        assert (await small.ended(run.run_id)).state == "done"
        assert small.daemon.waiting_reason() is None


async def test_a_converter_that_was_killed_is_no_verdict_on_the_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    num_killed, real = 0, EngineRoom.make

    def killed(self: EngineRoom, spec: Any) -> Any:
        nonlocal num_killed
        if spec.name == "v001" and num_killed < 3:
            num_killed += 1
            raise EngineError("The model could not be converted: the converter ended with status -9.")
        return real(self, spec)

    monkeypatch.setattr(EngineRoom, "make", killed)
    async with training(tmp_path) as small:
        run = await teach(small, "q")
        assert (run.state, num_killed) == ("done", 3)
        assert version_of(small, run).gate_passed


async def test_a_trainer_that_cannot_be_started_now_is_started_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    num_failures, real = 0, TrainerProcess.run

    async def short(self: TrainerProcess, on_event: Any) -> Any:
        nonlocal num_failures
        num_failures += 1
        if num_failures < 4:
            raise OSError(errno.EMFILE, "Too many open files")
        return await real(self, on_event)

    monkeypatch.setattr(TrainerProcess, "run", short)
    async with training(tmp_path, max_attempts=2) as small:
        assert (await teach(small, "q")).state == "done"
        assert num_failures == 4


async def test_what_the_disk_refuses_one_run_alone_fails_that_run_with_the_reason(tmp_path: Path) -> None:
    async with training(tmp_path, max_attempts=3) as small:
        run = await small.daemon.queue([await small.correct("q1", "a")], priority="low")
        (small.home.runs / run.run_id).write_bytes(b"a file where a folder belongs")
        other = await teach(small, "q2")
        ended = await small.ended(run.run_id)
        assert (ended.state, other.state) == ("failed", "done")
        assert str(small.home.runs / run.run_id) in ended.why


async def test_an_error_nobody_foresaw_ends_one_run_and_not_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise RuntimeError("a bug")

    async with training(tmp_path) as small:
        with monkeypatch.context() as patched:
            patched.setattr(run_preparation, "write_spec", fail)
            ended = await teach(small, "q1")
        assert ended.state == "failed"
        assert "a bug" in ended.why
        assert (await teach(small, "q2")).state == "done"


@pytest.mark.parametrize("how", ["raises", "is cancelled"])
async def test_a_loop_that_ended_says_so_and_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    class Bug(BaseException):
        pass

    async def fail(self: Any, wait_s: float | None) -> None:
        if how == "raises":
            raise Bug("a bug")
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)

    async with training(tmp_path) as small:
        with monkeypatch.context() as patched:
            patched.setattr(Dispatcher, "_wait", fail)
            small.daemon._dispatcher.ring()
            while small.daemon.failure is None:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
            assert "ended unexpectedly" in (small.daemon.waiting_reason() or "")
            assert "ended unexpectedly" in caplog.text
        assert (await teach(small, "q")).state == "done"
        assert small.daemon.failure is None


async def test_a_run_that_shows_no_progress_for_long_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(*_: Any, **__: Any) -> Any:
        await asyncio.Event().wait()

    monkeypatch.setattr("homefire.training.daemon.STALL_S", 0.05)
    monkeypatch.setattr(completion.GateEvaluator, "judge", hang)
    async with training(tmp_path) as small:
        run = await small.daemon.queue([await small.correct("q", "a")])
        await small.until(run.run_id, lambda progress: progress.phase == "gating")
        while small.daemon.failure is None:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        assert run.run_id in (small.daemon.failure or "")
        assert "gating" in (small.daemon.failure or "")
        await small.daemon.signal(run.run_id, "stop", who="me", why="it hangs")
        assert small.daemon.failure is None


async def test_a_stop_that_comes_when_the_result_exists_is_obeyed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = asyncio.Event()

    async def hold(*_: Any, **__: Any) -> Any:
        stop.set()
        await asyncio.Event().wait()

    async with training(tmp_path) as small:
        with monkeypatch.context() as patched:
            patched.setattr(completion.Completion, "_publish", hold)
            run = await small.daemon.queue([await small.correct("q", "a")])
            await stop.wait()
            assert (small.home.runs / run.run_id / "final").exists()
            await small.daemon.signal(run.run_id, "stop", who="me", why="enough")
        row = small.store.runs.get(run.run_id)
        assert row is not None
        assert (row.state, row.version) == ("stopped", None)
        await small.daemon.signal(run.run_id, "retry", who="me", why="after all")
        assert (await small.ended(run.run_id)).state == "done"


async def test_a_damaged_history_of_steps_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAND_IN", SLOW)
    async with training(tmp_path) as small:
        run = await small.daemon.queue([await small.correct("q", "a")])
        await small.until(run.run_id, lambda progress: progress.step > 2)
        await small.daemon.signal(run.run_id, "pause", who="me", why="x")
        folder = small.home.runs / run.run_id
        shutil.copyfile("/bin/true", folder / "metrics.jsonl")
        await small.daemon.signal(run.run_id, "resume", who="me", why="x")
        assert (await small.ended(run.run_id)).state == "done"
