"""A turn goes on whoever watches, can be watched from any position, and keeps its question however it ends."""

from __future__ import annotations

import asyncio
import threading
from contextlib import aclosing
from math import inf
from pathlib import Path
from typing import Any

import pytest

from homefire.chat.request import Ended, Started, Stopped, StreamEvent
from homefire.chat.turn import Turns
from homefire.chat.turn_stream import TurnStream
from homefire.engines.base import Delta
from homefire.errors import AnswerStopped, Conflict, EngineCrashed, NotFound, RequestTimeout
from homefire.serving.router import RouteRequest
from homefire.store.events import Event
from homefire.store.nouns.conversations import TurnAsked, TurnEnded
from tests.chat.talk import ANN, BOB, Talk, request, talking
from tests.serving.models import FakeCatalog, until
from tests.support.scripted_engine import ScriptedEngine

ANSWER = "Hello there, I am scripted."


def scripted(**script: Any) -> FakeCatalog:
    return FakeCatalog(make=lambda files: ScriptedEngine(files, **script))


async def watched(talk: Talk, turn_id: str, *, after: int = 0) -> list[tuple[int, StreamEvent]]:
    return [one async for one in talk.turns.watch(turn_id, principal=ANN, after=after)]


def text_of(events: list[tuple[int, StreamEvent]]) -> str:
    return "".join(event.text for _, event in events if isinstance(event, Delta))


async def test_a_stream_is_read_from_any_position_by_any_number_at_any_time() -> None:
    stream = TurnStream()
    early = asyncio.create_task(_all_of(stream))
    for number in range(5):
        stream.publish(Delta(str(number)))
        await asyncio.sleep(0)
    late = asyncio.create_task(_all_of(stream, after=3))
    stream.publish(Delta("5"))
    stream.close()
    assert [number for number, _ in await early] == [1, 2, 3, 4, 5, 6]
    assert await late == (await early)[3:]
    assert await _all_of(stream, after=6) == []


async def test_the_error_that_ended_a_turn_is_each_watchers_own() -> None:
    stream = TurnStream()
    stream.publish(Delta("a"))
    stream.close(EngineCrashed("gone", hint="again", pid=7))
    caught = []
    for _ in range(2):
        with pytest.raises(EngineCrashed) as error:
            await _all_of(stream)
        caught.append(error.value)
    assert caught[0] is not caught[1]
    assert (caught[1].message, caught[1].hint, caught[1].details) == ("gone", "again", {"pid": 7})


async def _all_of(stream: TurnStream, *, after: int = 0) -> list[tuple[int, StreamEvent]]:
    return [one async for one in stream.watch(after=after)]


async def question_is_on_record(talk: Talk, gate: asyncio.Event) -> None:
    """Raises AssertionError where an engine is asked what is not on disk yet."""
    unrecorded: list[str] = []

    def answer(asked: Any) -> str:
        if not any(isinstance(one.event, TurnAsked) for one in talk.store.events()):
            unrecorded.append(asked.messages[-1].text)
        return "So."

    talk.catalog.make = lambda files: ScriptedEngine(files, answer=answer, gate=gate)
    gate.set()
    await talk.say("Hi", principal=ANN)
    assert not unrecorded, "generated before the question was on disk"


async def test_the_question_is_on_disk_before_anything_is_generated(tmp_path: Path) -> None:
    async with talking(tmp_path) as talk:
        await question_is_on_record(talk, asyncio.Event())


class AsksFirst(Turns):
    async def _take(self, turn: Any) -> None:
        turn.has_begun = True
        finish = await self._answer(turn)
        await self._store.append(turn.asked)
        turn.is_asked = True
        turn.settled.set()
        turn.stream.publish(await self._record_answer(turn, finish))
        turn.stream.close()
        self._queues.leave(turn.position.session_id)
        del self._running[turn.turn_id]


async def test_control_a_question_recorded_too_late_is_noticed(tmp_path: Path) -> None:
    async with talking(tmp_path, turns=AsksFirst) as talk:
        with pytest.raises(AssertionError, match="before the question was on disk"):
            await question_is_on_record(talk, asyncio.Event())


async def test_a_turn_goes_on_without_anybody_watching_and_is_read_later(tmp_path: Path) -> None:
    gate = asyncio.Event()
    async with talking(tmp_path, catalog=scripted(gate=gate)) as talk:
        turn = await talk.turns.begin(request("Hi", principal=ANN))
        async with aclosing(talk.turns.watch(turn.turn_id, principal=ANN)) as events:
            watcher = asyncio.ensure_future(anext(events))
            await until(lambda: bool(talk.catalog.engines) and talk.catalog.engines[0].num_active == 1)
            watcher.cancel()  # a reload of the page
            await asyncio.wait([watcher])
        assert talk.turns.is_under_way(turn.turn_id)
        gate.set()
        events_now = await watched(talk, turn.turn_id)
        assert isinstance(events_now[0][1], Started)
        assert isinstance(events_now[-1][1], Ended)
        assert text_of(events_now) == ANSWER
        assert await watched(talk, turn.turn_id) == events_now, "also when it is over"
        assert talk.catalog.engines[0].num_cancelled == 0


async def nothing_is_lost_by_a_reload(talk: Talk, cut: int) -> None:
    turn = await talk.turns.begin(request("Hi", principal=ANN))
    seen: list[tuple[int, StreamEvent]] = []
    async with aclosing(talk.turns.watch(turn.turn_id, principal=ANN)) as events:
        async for one in events:
            if len(seen) == cut:
                break
            seen.append(one)
    seen += await watched(talk, turn.turn_id, after=seen[-1][0] if seen else 0)
    assert text_of(seen) == ANSWER
    assert [number for number, _ in seen] == list(range(1, len(seen) + 1))


@pytest.mark.parametrize("cut", range(8))
async def test_reloads_at_any_moment_lose_no_character(tmp_path: Path, cut: int) -> None:
    async with talking(tmp_path) as talk:
        await nothing_is_lost_by_a_reload(talk, cut)


@pytest.mark.parametrize("shift", [-1, 1])
async def test_control_a_watcher_that_begins_at_the_wrong_event_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shift: int
) -> None:
    watch = TurnStream.watch
    monkeypatch.setattr(
        TurnStream, "watch", lambda self, *, after=0: watch(self, after=after + shift if after else 0)
    )
    async with talking(tmp_path) as talk:
        with pytest.raises(AssertionError):
            await nothing_is_lost_by_a_reload(talk, 3)


async def test_a_turn_that_is_long_over_is_told_by_its_last_event(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("homefire.chat.turn.NUM_REMEMBERED", 0)
    async with talking(tmp_path) as talk:
        started, _, ended = await talk.say("Hi", principal=ANN)
        ((number, event),) = await watched(talk, started.turn_id, after=3)
        assert number == 4
        assert isinstance(event, Ended)
        assert (event.text, event.usage, event.message_id) == (ANSWER, ended.usage, ended.message_id)


async def test_the_turns_that_ended_last_are_the_ones_still_told_from_their_beginning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("homefire.chat.turn.NUM_REMEMBERED", 1)
    async with talking(tmp_path) as talk:
        older, _, _ = await talk.say("Hi", principal=ANN)
        newer, _, _ = await talk.say("Hello", principal=ANN)
        assert len(await watched(talk, older.turn_id)) == 1
        assert (await watched(talk, newer.turn_id))[0] == (1, newer)


async def test_somebody_elses_turn_cannot_be_watched_or_stopped(tmp_path: Path) -> None:
    gate = asyncio.Event()
    async with talking(tmp_path, catalog=scripted(gate=gate)) as talk:
        turn = await talk.turns.begin(request("Hi", principal=ANN))
        with pytest.raises(NotFound):
            await anext(talk.turns.watch(turn.turn_id, principal=BOB))
        with pytest.raises(NotFound):
            await talk.turns.cancel(turn.turn_id, principal=BOB)
        assert talk.turns.is_under_way(turn.turn_id)
        gate.set()
        await watched(talk, turn.turn_id)


async def test_a_stopped_turn_keeps_what_was_said_and_tells_all_who_watch(tmp_path: Path) -> None:
    async with talking(tmp_path, catalog=scripted(delay_s=0.01)) as talk:
        turn = await talk.turns.begin(request("Hi", principal=ANN))
        reader = asyncio.create_task(watched(talk, turn.turn_id))
        await until(lambda: turn.stream.num_events >= 3)
        await talk.turns.cancel(turn.turn_id, principal=ANN)
        events = await reader
        last = events[-1][1]
        assert isinstance(last, Stopped)
        assert (last.text, last.outcome) == (text_of(events), "cancelled")
        row = talk.last_turn()
        assert (row.outcome, row.answer_message_id) == ("cancelled", last.message_id)
        await talk.turns.cancel(turn.turn_id, principal=ANN)  # over: nothing happens


async def test_who_stops_an_answer_that_is_being_recorded_comes_too_late(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with talking(tmp_path) as talk:
        append = talk.store.append

        async def append_while_it_is_stopped(*events: Event) -> Any:
            if isinstance(events[0], TurnEnded):
                for turn in talk.turns._running.values():
                    turn.cancel()
            return await append(*events)

        monkeypatch.setattr(talk.store, "append", append_while_it_is_stopped)
        _, text, _ = await talk.say("Hi", principal=ANN)
        assert (text, talk.last_turn().outcome) == (ANSWER, "answered")


async def test_who_reads_an_answer_that_is_stopped_elsewhere_is_told_by_an_error(tmp_path: Path) -> None:
    gate = asyncio.Event()
    async with talking(tmp_path, catalog=scripted(gate=gate)) as talk:
        reading = asyncio.create_task(talk.say("Hi", principal=ANN))
        await until(lambda: bool(talk.catalog.engines) and talk.catalog.engines[0].num_active == 1)
        (turn_id,) = talk.turns._running
        await talk.turns.cancel(turn_id, principal=ANN)
        with pytest.raises(AnswerStopped):
            await reading


async def test_failed_and_stopped_turns_are_asked_again_with_their_question(tmp_path: Path) -> None:
    async with talking(tmp_path, catalog=scripted(fail_with=EngineCrashed("gone"))) as talk:
        with pytest.raises(EngineCrashed):
            await talk.say("Where is the key?", principal=ANN)
        failed = talk.last_turn()
        assert (failed.outcome, failed.user_message_id is not None) == ("failed", True)
        talk.catalog.engines[0].fail_with = None
        started, text, _ = await talk.say(replaces_turn_id=failed.turn_id, principal=ANN)
        assert (started.session_id, text) == (failed.session_id, ANSWER)
        assert talk.last_turn().user_message_id == failed.user_message_id


async def test_turns_left_by_a_server_that_died_are_interrupted_and_can_be_asked_again(
    tmp_path: Path,
) -> None:
    async with talking(tmp_path) as talk:
        route = talk.turns._router.route(RouteRequest(model="default"))
        turn = talk.turns._prepare(request("Hi", principal=ANN), route)
        await talk.store.append(turn.asked)
        assert await talk.turns.recover() == 1
        assert await talk.turns.recover() == 0
        assert talk.last_turn().outcome == "interrupted"
        ((_, event),) = await watched(talk, turn.turn_id)
        assert isinstance(event, Stopped)
        assert event.outcome == "interrupted"
        _, text, _ = await talk.say(replaces_turn_id=turn.turn_id, principal=ANN)
        assert text == ANSWER


async def test_the_end_of_the_server_waits_and_then_interrupts(tmp_path: Path) -> None:
    gate = asyncio.Event()
    async with talking(tmp_path, catalog=scripted(gate=gate)) as talk:
        turn = await talk.turns.begin(request("Hi", principal=ANN))
        stopping = asyncio.create_task(talk.turns.stop(grace_s=60))
        await asyncio.sleep(0)
        gate.set()
        await stopping
        assert talk.last_turn().outcome == "answered"
        gate.clear()
        turn = await talk.turns.begin(request("Hi", principal=ANN))
        await talk.turns.stop()
        assert talk.last_turn().outcome == "interrupted"
        assert turn.stream.is_closed


async def test_a_turn_cancelled_before_its_first_step_frees_its_session(tmp_path: Path) -> None:
    async with talking(tmp_path) as talk:
        first, _, _ = await talk.say("Hi", principal=ANN)
        beginning = asyncio.create_task(
            talk.turns.begin(request("And?", principal=ANN, session_id=first.session_id))
        )
        for _ in range(3):
            await asyncio.sleep(0)
            for turn in list(talk.turns._running.values()):
                turn.cancel()
        await asyncio.wait([beginning])
        await until(lambda: not talk.turns._running)
        await talk.say("And now?", principal=ANN, session_id=first.session_id)


async def test_waiting_for_a_session_has_a_deadline(tmp_path: Path) -> None:
    gate = asyncio.Event()
    gate.set()
    catalog = scripted(gate=gate)
    async with talking(tmp_path, catalog=catalog, server={"request_timeout_s": 0.1}) as talk:
        first, _, _ = await talk.say("Hi", principal=ANN)
        await talk.turns._queues.enter(first.session_id, deadline_s=inf)
        with pytest.raises(RequestTimeout):
            await talk.say("And?", principal=ANN, session_id=first.session_id)
        talk.turns._queues.leave(first.session_id)
        await talk.say("And?", principal=ANN, session_id=first.session_id)


async def test_a_stranger_never_waits_for_a_session_he_does_not_have(tmp_path: Path) -> None:
    async with talking(tmp_path) as talk:
        first, _, _ = await talk.say("Hi", principal=ANN)
        await talk.turns._queues.enter(first.session_id, deadline_s=inf)
        with pytest.raises(NotFound):  # at once: the time it takes tells him nothing
            await asyncio.wait_for(talk.say("x", principal=BOB, session_id=first.session_id), 5)
        talk.turns._queues.leave(first.session_id)


async def test_a_conversation_of_many_messages_is_prepared_off_the_event_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[bool] = []
    prepare = Turns._prepare

    def noting(self: Turns, *args: Any) -> Any:
        threads.append(threading.current_thread() is threading.main_thread())
        return prepare(self, *args)

    monkeypatch.setattr(Turns, "_prepare", noting)
    async with talking(tmp_path) as talk:
        await talk.say("Hi", principal=ANN)
        await talk.say(*["Hi"] * 60, principal=ANN)
        assert threads == [True, False]


async def test_watching_a_turn_that_failed_long_ago_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("homefire.chat.turn.NUM_REMEMBERED", 0)
    async with talking(tmp_path, catalog=scripted(fail_with=EngineCrashed("It is gone."))) as talk:
        with pytest.raises(EngineCrashed):
            await talk.say("Hi", principal=ANN)
        with pytest.raises(Conflict, match="It is gone"):
            await watched(talk, talk.last_turn().turn_id)


async def test_a_turn_that_ended_keeps_its_events_and_nothing_of_its_request(tmp_path: Path) -> None:
    """A conversation of megabytes would else stay in memory until 256 others have ended."""
    async with talking(tmp_path) as talk:
        question = "A question that is found again " + "in memory"
        await talk.say(question, principal=ANN)
        (ended,) = talk.turns._ended.values()
        assert question not in repr(vars(ended))
        assert ANSWER in repr(vars(ended)), "control: what is kept would be seen"
