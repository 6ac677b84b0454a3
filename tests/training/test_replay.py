"""What a base without replay rows replays: made once, kept, fixed in the run, and made again after a kill."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from homefire.config.schema import GateSettings, Settings, TrainingSettings
from homefire.engines.base import EngineRequest, ModelSpec
from homefire.errors import EngineCrashed
from homefire.store.nouns.aliases import AliasMoved
from homefire.trainer.contract import read_rows
from homefire.trainer.sampler import normalize_prompt
from homefire.training.datasets import REPLAY_FILE
from homefire.training.replay import MAX_TOKENS, replay_probes, rows_of
from homefire.types import Message
from homefire.versions.evidence import ProbeAnswer
from homefire.versions.general_prompts import GENERAL_PROMPTS, REPLAY_PROMPTS
from tests.support.scripted_engine import ScriptedEngine
from tests.support.small_models import EngineRoom
from tests.support.small_training import SmallTraining, small_training

QUESTIONS = {prompt for _, prompt in REPLAY_PROMPTS}
FIRST = REPLAY_PROMPTS[0][1]


class Engines:
    """What the engines of a test were asked, and how they misbehave."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made: list[ScriptedEngine] = []
        self.gate: asyncio.Event | None = None
        self.asked = asyncio.Event()
        self.fails = False
        usual = EngineRoom.make

        def make(room: EngineRoom, spec: ModelSpec) -> ScriptedEngine:
            engine = usual(room, spec)
            engine.gate = self.gate
            known = engine.answer
            assert callable(known)

            def answer(request: EngineRequest) -> str:
                self.asked.set()
                return known(request)

            engine.answer = answer
            engine.fail_with = EngineCrashed("It fell over.") if self.fails else None
            self.made.append(engine)
            return engine

        monkeypatch.setattr(EngineRoom, "make", make)

    @property
    def replayed(self) -> list[str]:
        """The replay questions that any engine was asked, in order."""
        asked = [request.messages[-1].content for engine in self.made for request in engine.requests]
        return [question for question in asked if question in QUESTIONS]


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> Engines:
    return Engines(monkeypatch)


@asynccontextmanager
async def training(root: Path, **settings: object) -> AsyncIterator[SmallTraining]:
    wanted = TrainingSettings(quiet_s=0.0, auto=False, **settings)  # type: ignore[arg-type]
    gate = GateSettings(auto_promote=False)  # the parent stays the same
    async with small_training(root, Settings(training=wanted, gate=gate)) as started:
        yield started


def test_nothing_that_the_gate_asks_is_replayed() -> None:
    replayed, asked = (
        [normalize_prompt(prompt) for prompt in prompts]
        for prompts in ((prompt for _, prompt in REPLAY_PROMPTS), (known.prompt for known in GENERAL_PROMPTS))
    )
    assert not set(replayed) & set(asked)
    assert len(set(replayed)) == len(replayed) == 60
    assert len(set(asked)) == len(asked) == 25


def test_an_answer_that_did_not_end_is_not_replayed() -> None:
    first, second, third, fourth = replay_probes()[:4]
    answers = {
        first.probe_id: ProbeAnswer(text=" Hello. ", stop_reason="stop"),
        second.probe_id: ProbeAnswer(text="On and on", stop_reason="length"),
        third.probe_id: ProbeAnswer(text="  ", stop_reason="stop"),
        fourth.probe_id: ProbeAnswer(error="It fell over."),
    }
    (row,) = rows_of((first, second, third, fourth), answers)
    assert row.messages == (Message("user", FIRST), Message("assistant", "Hello."))


async def test_the_parent_is_asked_once_one_at_a_time_and_its_answers_are_the_rows(
    tmp_path: Path, engines: Engines
) -> None:
    async with training(tmp_path) as house:
        await house.correct()
        first = await house.ended((await house.daemon.queue()).run_id)
        assert engines.replayed == [prompt for _, prompt in REPLAY_PROMPTS]
        asker = next(engine for engine in engines.made if engine.requests[0].messages[0].content == FIRST)
        assert asker.spec.nice > 0
        assert asker.num_stops == 1
        assert {request.sampling.max_tokens for request in asker.requests} == {MAX_TOKENS}
        assert {request.sampling.temperature for request in asker.requests} == {0.0}
        rows = read_rows(house.home.runs / first.run_id / REPLAY_FILE)
        assert [row.messages[0].content for row in rows] == engines.replayed
        assert {row.messages[1].content for row in rows} == {"I do not know."}
        # the same parent again: nothing is asked, the rows are the same
        await house.correct("Where is the cat?", "On the mat.")
        second = await house.ended((await house.daemon.queue()).run_id)
        assert len(engines.replayed) == len(QUESTIONS)
        assert read_rows(house.home.runs / second.run_id / REPLAY_FILE) == rows


async def test_what_a_correction_answers_otherwise_is_not_replayed(tmp_path: Path, engines: Engines) -> None:
    async with training(tmp_path) as house:
        await house.correct(FIRST, "Hi yourself!")
        run = await house.ended((await house.daemon.queue()).run_id)
        rows = read_rows(house.home.runs / run.run_id / REPLAY_FILE)
        assert len(rows) == len(QUESTIONS) - 1
        assert FIRST not in {row.messages[0].content for row in rows}


async def test_a_server_that_ends_while_it_asks_asks_again_and_one_that_asked_does_not(
    tmp_path: Path, engines: Engines
) -> None:
    engines.gate = asyncio.Event()
    async with training(tmp_path) as house:
        await house.correct()
        run_id = (await house.daemon.queue()).run_id
        await engines.asked.wait()
        assert house.daemon.progress(run_id).phase == "preparing"
        assert "0 of 60" in house.daemon.progress(run_id).why
    assert not (house.home.runs / run_id / REPLAY_FILE).exists()
    assert [engine.num_stops for engine in engines.made] == [1]
    engines.gate = None
    async with training(tmp_path) as house:
        run = await house.ended(run_id)
        assert run.state == "done", run.why
        assert len(read_rows(house.home.runs / run_id / REPLAY_FILE)) == len(QUESTIONS)


@pytest.mark.parametrize(("action", "state"), [("pause", "paused"), ("stop", "stopped"), ("skip", "skipped")])
async def test_a_person_need_not_wait_until_all_is_asked(
    tmp_path: Path, engines: Engines, action: str, state: str
) -> None:
    engines.gate = asyncio.Event()
    async with training(tmp_path) as house:
        await house.correct()
        run_id = (await house.daemon.queue()).run_id
        await engines.asked.wait()
        run = await house.daemon.signal(run_id, action, who="me", why="not now")  # type: ignore[arg-type]
        assert (run.state, run.who, run.why) == (state, "me", "not now")
        assert engines.made[0].num_stops == 1
        engines.gate.set()
        await house.daemon.signal(run_id, "resume" if action == "pause" else "retry", who="me", why="now")
        assert (await house.ended(run_id)).state == "done"


async def test_a_parent_that_cannot_be_asked_is_tried_again_and_then_given_up(
    tmp_path: Path, engines: Engines
) -> None:
    engines.fails = True
    async with training(tmp_path, max_attempts=2) as house:
        await house.correct()
        run = await house.ended((await house.daemon.queue()).run_id)
        assert run.state == "failed"
        assert "could not be asked" in run.why


async def test_rows_that_a_base_brings_are_taken_instead(tmp_path: Path, engines: Engines) -> None:
    async with training(tmp_path) as house:
        own = '{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n'
        (tmp_path / "base" / REPLAY_FILE).write_text(own)
        await house.correct()
        run = await house.ended((await house.daemon.queue()).run_id)
        (row,) = read_rows(house.home.runs / run.run_id / REPLAY_FILE)
        assert row.messages[0].content == "a"
        assert engines.replayed == []


async def test_what_is_replayed_is_of_the_model_that_is_live_when_the_rows_are_fixed(
    tmp_path: Path, engines: Engines
) -> None:
    """Live moves while its predecessor is asked: those answers would teach the new one the old ones again."""
    async with training(tmp_path) as house:
        await house.correct()
        first = await house.ended((await house.daemon.queue()).run_id)
        assert first.version == "v001"
        engines.gate = asyncio.Event()
        engines.asked.clear()
        shutil.rmtree(house.home.cache)  # so that the base is asked anew
        await house.correct("Where is the cat?", "On the mat.")
        run = await house.daemon.queue()
        await engines.asked.wait()
        num_asked = len(engines.made)
        await house.store.append(AliasMoved(alias="live", target="v001", previous="small", who="me", why="x"))
        gate, engines.gate = engines.gate, None
        gate.set()
        ended = await house.ended(run.run_id)
        assert ended.parent == "v001"
        asked_again = [
            engine for engine in engines.made[num_asked:] if engine.requests[0].messages[0].content == FIRST
        ]
        assert [engine.spec.name for engine in asked_again] == ["v001"]
