"""The daemon with a stand-in trainer: from a correction to a live version, and through every misfortune."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from homefire.catalog.models import ModelInfo
from homefire.config.schema import GateSettings, Settings, StoreSettings, TrainingSettings
from homefire.errors import Conflict, NotFound, NotTrainable, StoreFull
from homefire.home import Home
from homefire.store.events import Event
from homefire.store.nouns.aliases import AliasMoved
from homefire.store.nouns.runs import RunMoved, RunRow
from homefire.store.nouns.versions import GateJudged
from homefire.store.store import Store, open_store
from homefire.trainer.contract import read_spec
from homefire.training import completion as completion_module
from homefire.training.daemon import TrainingDaemon
from homefire.training.progress import Progress
from homefire.types import Message
from homefire.versions.library import Library
from homefire.versions.promotion import Promotion
from homefire.world import World
from tests.support.small_models import EngineRoom, SmallCatalog, write_model
from tests.support.stand_in import STAND_IN

KNOWN = {
    f"{skill} {number}": f"{skill} is {number}" for skill in ("add", "spell", "day") for number in range(7)
}


@dataclass
class Server:
    """One life of a server on a home."""

    home: Home
    store: Store
    catalog: SmallCatalog
    library: Library
    promotion: Promotion
    training: TrainingDaemon
    engines: EngineRoom
    swaps: list[str] = field(default_factory=list)

    async def correct(self, question: str, answer: str) -> str:
        given = await self.training.correct([Message("user", question)], answer=answer)
        assert given.example_id is not None
        return given.example_id

    async def run_of(self, example_id: str) -> str:
        for _ in range(10_000):
            if (run_id := self.training.run_of(example_id)) is not None:
                return run_id
            await asyncio.sleep(0.01)
        raise AssertionError("no run learns it")

    async def until(self, run_id: str, reached: Callable[[Progress], bool]) -> Progress:
        async for progress in self.training.watch(run_id):
            if reached(progress):
                return progress
        raise AssertionError(f"the run ended before that: {self.training.progress(run_id)}")

    async def end_of(self, run_id: str) -> RunRow:
        async for _ in self.training.watch(run_id):
            pass
        run = self.store.runs.get(run_id)
        assert run is not None
        return run

    @property
    def live(self) -> str:
        return self.catalog.resolve("live").model.name

    def moves(self, run_id: str) -> list[str]:
        events = [recorded.event for recorded in self.store.events()]
        return [event.state for event in events if isinstance(event, RunMoved) and event.run_id == run_id]


Start = Callable[..., Any]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    """Start a server on the test's home; `plan` is what the stand-in trainer does."""
    home = Home(tmp_path / "home")

    @asynccontextmanager
    async def life(
        *,
        plan: dict[str, Any] | None = None,
        auto: bool = True,
        auto_promote: bool = True,
        max_tries: int = 1,
        **training: Any,
    ) -> AsyncIterator[Server]:
        monkeypatch.setenv("STAND_IN", json.dumps(plan or {}))
        settings = Settings(
            training=TrainingSettings(auto=auto, **{"quiet_s": 0.0, **training}),
            gate=GateSettings(auto_promote=auto_promote, max_tries=max_tries),
        )
        with open_store(home, StoreSettings(reserve_bytes=0), World()) as store:
            catalog, library, engines = SmallCatalog(store), Library(home, store, store.world), EngineRoom()
            if store.models.get("small") is None:
                catalog.add_base("small", write_model(tmp_path / "base", KNOWN, probes=KNOWN))
            swaps: list[str] = []

            async def swap_to(model: ModelInfo) -> None:
                swaps.append(model.name)

            promotion = Promotion(home=home, store=store, catalog=catalog, swap_to=swap_to, world=store.world)
            daemon = TrainingDaemon(
                home=home, store=store, catalog=catalog, library=library, promotion=promotion,  # type: ignore[arg-type]
                make_engine=engines.make, settings=settings, world=store.world, worker_command=STAND_IN,
            )  # fmt: skip
            await library.recover()
            promotion.repair_live_link()
            await daemon.start()
            try:
                yield Server(home, store, catalog, library, promotion, daemon, engines, swaps)
            finally:
                await daemon.stop()

    return life


def weights(server: Server, version: str) -> bytes:
    return (server.library.folder(version) / "model.safetensors").read_bytes()


# The circle


async def test_a_correction_becomes_a_live_version_by_itself(start: Start) -> None:
    async with start() as server:
        example_id = await server.correct("Where is the key?", "Under the pot.")
        run = await server.end_of(await server.run_of(example_id))
        assert (run.state, run.version) == ("done", "v001")
        assert run.metrics["promoted"]
        assert run.metrics["target_score"] == 1.0
        assert server.live == "v001"
        assert server.swaps == ["v001"]
        assert server.moves(run.run_id) == ["running", "done"]
        manifest = server.library.manifest("v001")
        assert manifest.lineage.run_id == run.run_id
        assert manifest.lineage.example_ids == (example_id,)
        assert (manifest.parent, manifest.base.name) == ("small", "small")
        version = server.library.get("v001")
        assert version.gate_passed
        assert version.gate_scores["protected_ratio"] == 1.0
        assert all(engine.num_stops == 1 for engine in server.engines.engines)
        assert not (server.home.runs / run.run_id / "final").exists()


async def test_what_is_given_during_a_run_goes_into_the_next_one(start: Start) -> None:
    async with start(plan={"steps": 20, "step_s": 0.02}) as server:
        first = await server.run_of(await server.correct("q1", "a1"))
        await server.until(first, lambda progress: progress.step > 0)
        two = [await server.correct("q2", "a2"), await server.correct("q3", "a3")]
        await server.end_of(first)
        second = await server.end_of(await server.run_of(two[0]))
        assert await server.run_of(two[1]) == second.run_id
        assert (second.version, server.live) == ("v002", "v002")
        assert server.library.manifest("v002").parent == "v001"
        kept = (server.home.runs / second.run_id / "retained.jsonl").read_text()
        assert "q1" in kept
        answers = json.loads((server.library.folder("v002") / "answers.json").read_text())
        assert [answers[question] for question in ("q1", "q2", "q3")] == ["a1", "a2", "a3"]


async def test_of_two_contradicting_corrections_the_newest_is_learned(start: Start) -> None:
    async with start(auto=False) as server:
        await server.correct("q", "old")
        newest = await server.correct("q", "new")
        run = await server.training.queue()
        await server.end_of(run.run_id)
        dataset = server.store.datasets.get(run.dataset_id)
        assert dataset is not None
        assert dataset.example_ids == (newest,)


async def test_a_run_whose_every_correction_was_corrected_again_is_skipped(start: Start) -> None:
    async with start(auto=False, plan={"steps": 30, "step_s": 0.02}) as server:
        await server.correct("first", "1")
        first = await server.training.queue()
        await server.until(first.run_id, lambda progress: progress.step > 0)
        await server.correct("q", "old")
        second = await server.training.queue()
        await server.correct("q", "new")
        assert (await server.end_of(second.run_id)).state == "skipped"


async def test_a_queued_run_starts_from_what_is_live_when_its_turn_comes(start: Start) -> None:
    async with start(auto=False, plan={"steps": 20, "step_s": 0.02}) as server:
        first = await server.training.queue([await server.correct("q1", "a1")])
        second = await server.training.queue([await server.correct("q2", "a2")])
        assert second.parent == "small"
        run = await server.end_of(second.run_id)
        assert run.parent == "v001"
        assert server.library.manifest("v002").parent == "v001"
        assert (await server.end_of(first.run_id)).version == "v001"


async def test_nothing_to_queue_and_unknown_names_are_errors(start: Start) -> None:
    async with start(auto=False) as server:
        with pytest.raises(Conflict):
            await server.training.queue()
        with pytest.raises(NotFound):
            await server.training.queue(["nothing"])
        with pytest.raises(NotFound):
            server.training.watch("nothing")
        with pytest.raises(NotFound):
            await server.training.signal("nothing", "stop", who="me", why="x")


async def test_without_auto_corrections_wait_and_say_so(start: Start) -> None:
    async with start(auto=False) as server:
        assert server.training.waiting_reason() is None
        await server.correct("q", "a")
        assert "auto is off" in (server.training.waiting_reason() or "")


async def test_a_model_that_cannot_be_taught_keeps_corrections_pending_with_the_reason(start: Start) -> None:
    async with start() as server:
        server.catalog.why_not_trainable = "it is a GGUF file."
        example_id = await server.correct("q", "a")
        with pytest.raises(NotTrainable):
            await server.training.queue()
        assert "GGUF" in (server.training.waiting_reason() or "")
        assert len(server.store.examples.pending()) == 1
        server.catalog.why_not_trainable = None
        run = await server.end_of(await server.run_of(example_id))
        assert run.state == "done"
        assert server.training.waiting_reason() is None


async def test_quiet_time_gathers_corrections_into_one_run(start: Start) -> None:
    async with start(quiet_s=0.3) as server:
        given = [await server.correct(f"q{number}", "a") for number in range(5)]
        runs = {await server.run_of(example_id) for example_id in given}
        assert len(runs) == 1


# The gate decides


@pytest.mark.parametrize(
    ("plan", "reason"),
    [
        ({"learn": False}, "was not learned"),
        ({"forget": [f"add {number}" for number in range(7)]}, "“add” fell from 7 to 0"),
        ({"template": "another"}, "chat template"),
    ],
    ids=["not learned", "a skill lost", "another template"],
)
async def test_a_worse_version_is_kept_but_not_promoted(
    start: Start, plan: dict[str, Any], reason: str
) -> None:
    async with start(plan=plan) as server:
        run = await server.end_of(await server.run_of(await server.correct("q", "a")))
        version = server.library.get("v001")
        assert (run.state, run.version, run.metrics["promoted"]) == ("refused", "v001", False)
        assert version.gate_passed is False
        assert reason in " ".join(version.gate_reasons)
        assert run.why.startswith("v001 did not pass its gate: ")
        assert len(run.why) < 200
        assert (server.live, server.swaps) == ("small", [])


async def test_a_refused_version_is_trained_again_at_a_lower_rate_before_the_refusal_is_final(
    start: Start,
) -> None:
    async with start(plan={"learn": False}, max_tries=3) as server:
        await server.end_of(await server.run_of(await server.correct("q", "a")))
        while len(ended := server.store.runs.list("refused")) < 3:
            await server.end_of(server.store.runs.list()[0].run_id)
        first, second, third = reversed(ended)
        assert first.dataset_id == second.dataset_id == third.dataset_id
        rates = [run.recipe["learning_rate"] for run in (first, second, third)]
        assert rates[0] is None
        assert rates[1] == 2 * rates[2]
        jobs = [read_spec(server.home.runs / run.run_id) for run in (first, second, third)]
        assert len({spec.seed for spec in jobs}) == 3
        assert server.live == "small"


async def test_a_refused_correction_does_not_hold_up_the_next_one(start: Start) -> None:
    async with start(plan={"learn": False}) as server:
        refused = await server.correct("q1", "a1")
        await server.end_of(await server.run_of(refused))
    async with start() as server:
        run = await server.end_of(await server.run_of(second := await server.correct("q2", "a2")))
        dataset = server.store.datasets.get(run.dataset_id)
        assert dataset is not None
        assert dataset.example_ids == (second,)
        assert server.live == "v002"
        shown = server.training.correction_states().view(
            server.training.changes.find(refused, principal="local")
        )
        assert (shown.state, shown.why) == (
            "refused",
            "It was not learned after 4 steps: it is answered “I do not know.”.",
        )


async def test_what_was_taken_back_is_not_taught_again_by_itself(start: Start) -> None:
    async with start() as server:
        await server.end_of(await server.run_of(await server.correct("q1", "a1")))
        await server.promotion.rollback(who="me", why="worse")
        run = await server.end_of(await server.run_of(await server.correct("q2", "a2")))
        assert server.live == "v002"
        assert "q1" not in (server.home.runs / run.run_id / "retained.jsonl").read_text()


async def test_what_the_live_version_learned_is_replayed(start: Start) -> None:
    async with start() as server:
        await server.end_of(await server.run_of(await server.correct("q1", "a1")))
        run = await server.end_of(await server.run_of(await server.correct("q2", "a2")))
        assert "q1" in (server.home.runs / run.run_id / "retained.jsonl").read_text()


async def test_without_auto_promotion_a_passed_version_waits(start: Start) -> None:
    async with start(auto_promote=False) as server:
        run = await server.end_of(await server.run_of(await server.correct("q", "a")))
        assert server.library.get("v001").gate_passed
        assert (server.live, run.metrics["promoted"]) == ("small", False)
        assert "auto_promote" in run.why


async def test_a_version_is_not_promoted_over_a_rollback(start: Start) -> None:
    async with start(plan={"steps": 30, "step_s": 0.02}) as server:
        await server.end_of(await server.run_of(await server.correct("q1", "a1")))
        second = await server.run_of(await server.correct("q2", "a2"))
        await server.until(second, lambda progress: progress.step > 0)
        await server.promotion.rollback(who="me", why="worse")
        run = await server.end_of(second)
        assert server.live == "small"
        assert "live moved from v001 to small" in run.why
        again = await server.end_of(server.store.runs.list()[0].run_id)
        assert (again.dataset_id, again.parent) == (run.dataset_id, "small")
        assert server.live == again.version


# Misfortunes of the worker


async def test_a_killed_worker_goes_on_and_loses_no_step(start: Start) -> None:
    async with start(plan={"steps": 6}) as server:
        await server.end_of(await server.run_of(await server.correct("q", "a")))
        undisturbed = weights(server, "v001")
    async with start(plan={"steps": 6, "kill_at": 5}) as server:
        await server.promotion.rollback(who="me", why="again")
        run = await server.end_of(await server.run_of(await server.correct("other", "a")))
        assert server.moves(run.run_id) == ["running", "queued", "running", "done"]
        assert weights(server, "v002") == undisturbed


async def test_a_stolen_worker_process_is_noticed_whoever_killed_it(start: Start) -> None:
    async with start(plan={"steps": 40, "step_s": 0.02}) as server:
        run_id = await server.run_of(await server.correct("q", "a"))
        await server.until(run_id, lambda progress: progress.step > 3)
        lease = server.training._dispatcher.lease
        assert lease is not None
        assert lease._process is not None
        pid = lease._process.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        run = await server.end_of(run_id)
        assert run.state == "done"
        assert "queued" in server.moves(run_id)


async def test_a_worker_that_falls_silent_is_ended_and_its_run_goes_on(start: Start) -> None:
    async with start(plan={"steps": 4, "hang_at": 3}, heartbeat_timeout_s=1.0) as server:
        run = await server.end_of(await server.run_of(await server.correct("q", "a")))
        assert run.state == "done"
        assert server.moves(run.run_id) == ["running", "queued", "running", "done"]


async def test_a_crash_loop_without_progress_ends(start: Start) -> None:
    async with start(plan={"crash_at": 1, "times": 99}, max_attempts=3) as server:
        run = await server.end_of(await server.run_of(await server.correct("q", "a")))
        assert run.state == "failed"
        assert server.moves(run.run_id).count("running") == 3
        assert "3 attempts" in run.why
        again = await server.training.signal(run.run_id, "retry", who="me", why="try")
        assert again.attempts == 0
        assert (await server.end_of(run.run_id)).state == "failed"
        assert server.moves(run.run_id).count("running") == 6


async def test_crashes_with_progress_between_them_do_not_count(start: Start) -> None:
    plan = {"steps": 8, "checkpoint_every": 1, "crash_after": 3}
    async with start(plan=plan, max_attempts=2) as server:
        run = await server.end_of(await server.run_of(await server.correct("q", "a")))
        assert run.state == "done"
        assert server.moves(run.run_id).count("running") > 2


@pytest.mark.parametrize("reason", ["data", "numeric", "model"])
async def test_what_repetition_cannot_repair_fails_at_once(start: Start, reason: str) -> None:
    async with start(plan={"fail": reason}) as server:
        run = await server.end_of(await server.run_of(await server.correct("q", "a")))
        assert (run.state, run.metrics["failure"]) == ("failed", reason)
        assert server.moves(run.run_id) == ["running", "failed"]
        assert f"It is the {reason}." in run.why


# People


async def test_pause_and_resume_keep_every_step(start: Start) -> None:
    async with start(plan={"steps": 30, "step_s": 0.02}) as server:
        run_id = await server.run_of(await server.correct("q", "a"))
        await server.until(run_id, lambda progress: progress.step > 2)
        paused = await server.training.signal(run_id, "pause", who="me", why="I need the machine")
        assert (paused.state, paused.who, paused.why) == ("paused", "me", "I need the machine")
        with pytest.raises(Conflict):
            await server.training.signal(run_id, "retry", who="me", why="x")
        resumed = await server.training.signal(run_id, "resume", who="me", why="go on")
        assert resumed.state == "queued"
        run = await server.end_of(run_id)
        assert run.state == "done"
        steps = [
            json.loads(line)["step"]
            for line in (server.home.runs / run_id / "metrics.jsonl").read_text().splitlines()
        ]
        assert steps == list(range(1, 31))
        with pytest.raises(Conflict):
            await server.training.signal(run_id, "stop", who="me", why="too late")


@pytest.mark.parametrize(("action", "state"), [("stop", "stopped"), ("skip", "skipped")])
async def test_stop_and_skip_end_a_running_and_a_queued_run(start: Start, action: Any, state: str) -> None:
    async with start(auto=False, plan={"steps": 500, "step_s": 0.02}) as server:
        first = await server.training.queue([await server.correct("q1", "a")])
        second = await server.training.queue([await server.correct("q2", "a")])
        await server.until(first.run_id, lambda progress: progress.step > 0)
        for run in (second, first):
            ended = await server.training.signal(run.run_id, action, who="me", why="enough")
            assert (ended.state, ended.who, ended.why) == (state, "me", "enough")
        assert server.library.all() == []


async def test_a_stopped_run_can_be_retried(start: Start) -> None:
    async with start(plan={"steps": 20, "step_s": 0.02}) as server:
        run_id = await server.run_of(await server.correct("q", "a"))
        await server.until(run_id, lambda progress: progress.step > 0)
        await server.training.signal(run_id, "stop", who="me", why="x")
        await server.training.signal(run_id, "retry", who="me", why="y")
        assert (await server.end_of(run_id)).state == "done"


# Misfortunes of the server

PHASES = ["before publish", "after publish", "after judge", "after promote"]


class Killed(BaseException):
    """The server ends here."""


@pytest.mark.parametrize("phase", PHASES)
async def test_a_server_killed_between_two_phases_goes_on_with_the_next(
    start: Start, monkeypatch: pytest.MonkeyPatch, phase: str
) -> None:
    reached = asyncio.Event()
    completion = completion_module.Completion

    async def kill(*_args: Any, **_kwargs: Any) -> None:
        reached.set()
        await asyncio.Event().wait()

    if phase == "before publish":
        monkeypatch.setattr(completion, "_publish", kill)
    elif phase == "after publish":
        monkeypatch.setattr(completion, "_judge", kill)
    elif phase == "after judge":
        monkeypatch.setattr(completion, "_promote", kill)
    else:
        monkeypatch.setattr(completion_module, "discard_leftovers", lambda _run_dir: reached.set())
        real = completion.complete

        async def after(self: Any, run: RunRow) -> Any:
            await real(self, run)
            await asyncio.Event().wait()

        monkeypatch.setattr(completion, "complete", after)
    async with start() as server:
        run_id = await server.run_of(await server.correct("q", "a"))
        await reached.wait()
    monkeypatch.undo()
    async with start() as server:
        run = await server.end_of(run_id)
        assert (run.state, run.version, server.live) == ("done", "v001", "v001")
        assert [row.version for row in server.library.all()] == ["v001"]
        assert [type(one.event) for one in server.store.events()].count(GateJudged) == 1
        assert len(server.store.aliases.history("live")) == 2
        assert (await server.library.verify("v001")).ok


async def test_a_run_goes_on_by_itself_after_a_restart(start: Start) -> None:
    async with start(plan={"steps": 60, "step_s": 0.02}) as server:
        run_id = await server.run_of(await server.correct("q", "a"))
        await server.until(run_id, lambda progress: progress.step > 2)
    async with start(plan={"steps": 60}) as server:
        run = await server.end_of(run_id)
        assert run.state == "done"
        assert run.epoch == 2
        metrics = (server.home.runs / run_id / "metrics.jsonl").read_text().splitlines()
        assert [json.loads(line)["step"] for line in metrics] == list(range(1, 61))


async def test_a_paused_run_stays_paused_over_a_restart(start: Start) -> None:
    async with start(plan={"steps": 60, "step_s": 0.02}) as server:
        run_id = await server.run_of(await server.correct("q", "a"))
        await server.until(run_id, lambda progress: progress.step > 2)
        await server.training.signal(run_id, "pause", who="me", why="x")
    async with start() as server:
        await server.correct("another", "a")
        assert server.training.progress(run_id).state == "paused"
        await server.training.signal(run_id, "resume", who="me", why="y")
        assert (await server.end_of(run_id)).state == "done"


async def test_a_worker_of_an_older_lease_can_commit_nothing(start: Start) -> None:
    """Two leases of one run: the first worker is left alive on purpose (a server that was suspended)."""
    async with start(plan={"steps": 4}) as server:
        run_id = await server.run_of(await server.correct("q", "a"))
        run = await server.end_of(run_id)
        run_dir = server.home.runs / run_id
        spec = read_spec(run_dir)
        (run_dir / "epoch").write_text(str(run.epoch + 1))
        old = await asyncio.create_subprocess_exec(
            *STAND_IN, str(run_dir), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL,
            env={**os.environ, "STAND_IN": json.dumps({"steps": 8})},
        )  # fmt: skip
        assert await old.wait() == 74
        assert spec.epoch == run.epoch
        assert not (run_dir / "final").exists()


async def test_a_full_disk_pauses_the_run_and_loses_nothing(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, failures = Store.append, []

    async def full_twice(self: Store, *events: Event) -> Any:
        if type(events[0]).__name__ == "VersionPublished" and len(failures) < 2:
            failures.append(1)
            raise StoreFull("There is no room.")
        return await real(self, *events)

    monkeypatch.setattr(Store, "append", full_twice)
    async with start() as server:
        run = await server.end_of(await server.run_of(await server.correct("q", "a")))
        assert (run.state, server.live, len(failures)) == ("done", "v001", 2)


async def test_a_parent_with_a_flipped_bit_is_repaired_before_it_is_trained_on(start: Start) -> None:
    async with start() as server:
        await server.end_of(await server.run_of(await server.correct("q1", "a1")))
        path = server.library.folder("v001") / "model.safetensors"
        whole = path.read_bytes()
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        run = await server.end_of(await server.run_of(await server.correct("q2", "a2")))
        assert run.state == "done"
        assert path.read_bytes() == whole


async def test_a_base_with_a_flipped_bit_is_not_trained_on(start: Start, tmp_path: Path) -> None:
    async with start() as server:
        path = tmp_path / "base" / "model.safetensors"
        path.write_bytes(path.read_bytes()[:-1] + b"\x01")
        run = await server.end_of(await server.run_of(await server.correct("q", "a")))
        assert run.state == "failed"
        assert "damaged" in run.why


async def test_progress_is_honest_and_the_loss_curve_survives_a_restart(start: Start) -> None:
    async with start(plan={"steps": 5}) as server:
        run_id = await server.run_of(await server.correct("q", "a"))
        seen = [progress async for progress in server.training.watch(run_id)]
        assert seen[-1].state == "done"
        assert seen[-1].losses == tuple((step, 1.0 / step) for step in range(1, 6))
        assert seen[-1].num_probed == seen[-1].num_probes > 0
        assert seen[0].loss is None or seen[0].loss > 0
    async with start() as server:
        assert server.training.losses(run_id) == [(step, 1.0 / step) for step in range(1, 6)]
        (only,) = [progress async for progress in server.training.watch(run_id)]
        assert (only.state, only.promoted, only.version) == ("done", True, "v001")


async def test_an_alias_moved_by_hand_is_what_the_next_run_starts_from(start: Start) -> None:
    async with start() as server:
        await server.end_of(await server.run_of(await server.correct("q1", "a1")))
        await server.store.append(
            AliasMoved(alias="live", target="small", previous="v001", who="me", why="by hand")
        )
        run = await server.end_of(await server.run_of(await server.correct("q2", "a2")))
        assert run.parent == "small"
