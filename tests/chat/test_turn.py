"""A turn's promises: durable before Ended, cancels and failures on record, nothing dropped silently."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from homefire.chat.request import Ended, Started, TurnEvent
from homefire.chat.turn import Turns
from homefire.engines.base import Delta, Finish
from homefire.errors import (
    BadModel,
    ContextOverflow,
    EngineCrashed,
    InvalidRequest,
    ModelNotFound,
    QueueFull,
    RequestTimeout,
    StoreFull,
)
from homefire.serving.serving import Serving
from homefire.store.nouns.conversations import TurnEnded
from homefire.store.store import Store
from homefire.types import Message, Sampling
from tests.chat.talk import Talk, answered, check_order, request, system, talking
from tests.serving.models import FakeCatalog, until
from tests.support.scripted_engine import ScriptedEngine

ANSWER = "Hello there, I am scripted."


def scripted(**script: Any) -> FakeCatalog:
    context_length = script.pop("context_length", 1024)
    return FakeCatalog(make=lambda files: ScriptedEngine(files, **script), context_length=context_length)


async def test_a_turn_streams_and_is_recorded_with_all_that_is_known_of_it(tmp_path: Path) -> None:
    async with talking(tmp_path) as talk:
        started, text, ended = await talk.say("Hi", channel="openai")
        assert text == ANSWER
        assert (started.model, started.served_model) == ("default", "ember")
        assert started.route_reason == "'default' → 'live' → 'ember'"
        turn = talk.last_turn()
        assert (turn.turn_id, turn.session_id) == (started.turn_id, started.session_id)
        assert (turn.outcome, turn.stop_reason, turn.channel) == ("answered", "stop", "openai")
        assert (turn.requested_model, turn.served_model) == ("default", "ember")
        assert (turn.served_digest, turn.route_reason) == ("sha256:ember", started.route_reason)
        assert (turn.usage, turn.timings) == (ended.usage, ended.timings)
        assert turn.answer_message_id == ended.message_id
        assert ended.timings.first_token_ms > 0


async def test_when_ended_is_seen_the_turn_survives_a_restart(tmp_path: Path) -> None:
    async with talking(tmp_path) as talk:
        started, _, _ = await talk.say("Remember me")
    async with talking(tmp_path) as talk:
        again, _, _ = await talk.say("Who?", session_id=started.session_id)
        assert talk.prompts()[-1][0] == Message("user", "Remember me")
        assert again.session_id == started.session_id


async def recorded_when_ended(talk: Talk) -> None:
    """Raises AssertionError where Ended is shown before the record is there."""
    async for event in talk.turns.run(request("Hi")):
        if isinstance(event, Ended):
            row = talk.store.turns.get(event.turn_id)
            assert row is not None
            assert row.outcome == "answered", "Ended before it was durable"


async def test_the_record_is_there_before_ended(tmp_path: Path) -> None:
    async with talking(tmp_path) as talk:
        await recorded_when_ended(talk)


class RecordsLater(Turns):
    later: asyncio.Task[Ended] | None = None

    async def _record_answer(self, turn: Any, finish: Finish) -> Ended:
        async def record() -> Ended:
            await asyncio.sleep(0.01)
            return await whole(turn, finish)

        whole = super()._record_answer
        self.later = asyncio.create_task(record())
        return Ended(
            turn_id=turn.turn_id,
            message_id="msg",
            text=turn.text,
            stop_reason=finish.stop_reason,
            stop_string=None,
            usage=finish.usage,
            timings=finish.timings,
        )


async def test_control_a_record_after_ended_is_noticed(tmp_path: Path) -> None:
    async with talking(tmp_path, turns=RecordsLater) as talk:
        with pytest.raises(AssertionError, match="before it was durable"):
            await recorded_when_ended(talk)
        assert isinstance(talk.turns, RecordsLater)
        assert talk.turns.later is not None
        await talk.turns.later


async def test_a_turn_that_cannot_be_recorded_is_an_error_and_never_ends_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with talking(tmp_path) as talk:

        async def full(self: Store, *events: object) -> None:
            raise StoreFull("The disk is full.")

        seen: list[TurnEvent] = []

        async def read() -> None:
            async for event in talk.turns.run(request("Hi")):
                seen.append(event)

        with monkeypatch.context() as patch:
            patch.setattr(Store, "append", full)
            with pytest.raises(StoreFull):
                await read()
        assert seen == [], "nothing is generated for a question that is not on record"
        assert talk.recorded() == []
        assert talk.catalog.engines == []
        await talk.say("Hi")


async def test_an_answer_that_cannot_be_recorded_is_an_error_and_never_ends_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Store.append

    async def full_for_answers(self: Store, *events: Any) -> Any:
        if isinstance(events[0], TurnEnded):
            raise StoreFull("The disk is full.")
        return await whole(self, *events)

    async with talking(tmp_path) as talk:
        seen: list[TurnEvent] = []

        async def read() -> None:
            async for event in talk.turns.run(request("Hi")):
                seen.append(event)

        with monkeypatch.context() as patch:
            patch.setattr(Store, "append", full_for_answers)
            with pytest.raises(StoreFull):
                await read()
        assert isinstance(seen[0], Started)
        assert not any(isinstance(event, Ended) for event in seen)
        assert talk.last_turn().outcome is None
        assert await talk.turns.recover() == 1
        assert talk.last_turn().outcome == "interrupted"


@pytest.mark.parametrize("num_deltas", [0, 1, 3])
async def test_closing_the_iterator_stops_and_records_what_was_said(tmp_path: Path, num_deltas: int) -> None:
    async with talking(tmp_path, catalog=scripted(delay_s=0.005)) as talk:
        async with aclosing(talk.turns.run(request("Hi"))) as turn:
            said = ""
            assert isinstance(await anext(turn), Started)
            for _ in range(num_deltas):
                delta = await anext(turn)
                assert isinstance(delta, Delta)
                said += delta.text
        assert talk.catalog.engines[0].num_cancelled == 1
        row = talk.last_turn()
        assert (row.outcome, row.stop_reason, row.usage) == ("cancelled", "cancelled", None)
        recorded = [message.content for message in talk.said_in(row)]
        # What was made is recorded, though nobody has seen all of it.
        assert recorded[0] == "Hi"
        assert "".join(recorded[1:]).startswith(said)


@pytest.mark.parametrize("stage", ["queue", "load", "decode"])
async def test_a_cancelled_task_is_recorded_in_every_stage(tmp_path: Path, stage: str) -> None:
    gate = asyncio.Event()
    catalog = scripted(gate=gate, load_gate=gate if stage == "load" else None)
    async with talking(tmp_path, catalog=catalog, serving={"num_parallel": 1}) as talk:
        running = asyncio.create_task(talk.say("first"))
        await until(lambda: bool(catalog.engines) and (stage == "load" or catalog.engines[0].num_active == 1))
        leaver = running
        if stage == "queue":
            leaver = asyncio.create_task(talk.say("second"))
            await until(lambda: talk.serving.queue().num_waiting == 1)
        leaver.cancel()
        await asyncio.wait([leaver])
        assert leaver.cancelled()
        assert talk.last_turn().outcome == "cancelled"
        assert talk.last_turn().answer_message_id is None
        gate.set()
        if stage == "queue":
            await running


async def test_cancelling_again_while_it_is_recorded_loses_nothing(tmp_path: Path) -> None:
    gate = asyncio.Event()
    async with talking(tmp_path, catalog=scripted(gate=gate)) as talk:
        leaver = asyncio.create_task(talk.say("Hi"))
        await until(lambda: bool(talk.catalog.engines) and talk.catalog.engines[0].num_active == 1)
        leaver.cancel()
        for _ in range(20):  # as a task group of a web framework does
            await asyncio.sleep(0)
            leaver.cancel()
        await asyncio.wait([leaver])
        gate.set()
        await talk.say("next")
        assert [turn.outcome for turn in talk.recorded()] == ["cancelled", "answered"]


class LosesCancels(Turns):
    async def _record_cancelled(self, turn: Any) -> None:
        """Forgotten."""


async def leave_after_the_first_event(root: Path, turns: type[Turns]) -> None:
    """Raises AssertionError where that leaves a turn without its end."""
    async with (
        talking(root, catalog=scripted(delay_s=0.005), turns=turns) as talk,
        aclosing(talk.turns.run(request("Hi"))) as turn,
    ):
        await anext(turn)


async def test_control_a_lost_cancel_is_noticed(tmp_path: Path) -> None:
    await leave_after_the_first_event(tmp_path / "kept", Turns)
    with pytest.raises(AssertionError, match="left without its end"):
        await leave_after_the_first_event(tmp_path / "lost", LosesCancels)


async def test_a_cancel_that_cannot_be_recorded_is_logged_and_still_cancels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    gate = asyncio.Event()
    async with talking(tmp_path, catalog=scripted(gate=gate)) as talk:

        async def full(self: Store, *events: object) -> None:
            raise StoreFull("The disk is full.")

        leaver = asyncio.create_task(talk.say("Hi"))
        await until(lambda: bool(talk.catalog.engines) and talk.catalog.engines[0].num_active == 1)
        with monkeypatch.context() as patch:
            patch.setattr(Store, "append", full)
            leaver.cancel()
            await asyncio.wait([leaver])
        assert leaver.cancelled()
        assert "could not be recorded" in caplog.text
        await talk.turns.recover()


@pytest.mark.parametrize("num_given", [0, 2])
async def test_a_failed_engine_is_recorded_as_failed_then_raised(tmp_path: Path, num_given: int) -> None:
    catalog = scripted(fail_with=EngineCrashed("It is gone."), fail_after=num_given)
    async with talking(tmp_path, catalog=catalog) as talk:
        with pytest.raises(EngineCrashed):
            await talk.say("Hi")
        row = talk.last_turn()
        assert (row.outcome, row.error_code, row.usage) == ("failed", "engine_crashed", None)
        assert len(talk.said_in(row)) == (2 if num_given else 1)
        assert row.error == "It is gone."
        session = talk.store.sessions.get(row.session_id)
        assert session is not None
        assert session.tip_message_id is None, "a failed answer is nothing to go on from"


async def test_a_load_that_fails_and_a_request_that_takes_too_long_are_failed_turns(tmp_path: Path) -> None:
    async with talking(tmp_path, catalog=scripted(load_fails_with=BadModel("torn"))) as talk:
        with pytest.raises(BadModel):
            await talk.say("Hi")
        assert talk.last_turn().error_code == "bad_model"
    slow = scripted(gate=asyncio.Event())
    async with talking(tmp_path, catalog=slow, server={"request_timeout_s": 0.02}) as talk:
        with pytest.raises(RequestTimeout):
            await talk.say("Hi")
        assert talk.last_turn().error_code == "request_timeout"


async def test_what_is_refused_before_it_is_taken_is_not_a_turn(tmp_path: Path) -> None:
    async with talking(tmp_path) as talk:
        with pytest.raises(InvalidRequest):
            await talk.say(answered("I begin"))
        with pytest.raises(ModelNotFound):
            await talk.say("Hi", model="unknown")
        assert talk.recorded() == []


async def test_a_question_that_found_the_queue_full_is_kept_as_failed(tmp_path: Path) -> None:
    gate = asyncio.Event()
    catalog = scripted(gate=gate)
    async with talking(tmp_path, catalog=catalog, serving={"num_parallel": 1, "max_queue": 1}) as talk:
        await talk.serving.warm("default")
        taken = [asyncio.create_task(talk.say("Hi")) for _ in range(2)]
        await until(lambda: talk.serving.queue().num_waiting == 1)
        with pytest.raises(QueueFull):
            await talk.say("Later")
        row = talk.last_turn()
        assert (row.outcome, row.error_code) == ("failed", "queue_full")
        gate.set()
        await asyncio.gather(*taken)
        again, _, _ = await talk.say(replaces_turn_id=row.turn_id)
        assert again.session_id == row.session_id
        assert talk.prompts()[-1] == (Message("user", "Later"),)


async def test_counting_and_generating_share_one_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[float | None] = []

    def watch(original: Any) -> Any:
        def watched(*args: Any, **given: Any) -> Any:
            seen.append(given.get("deadline_s"))
            return original(*args, **given)

        return watched

    monkeypatch.setattr(Serving, "count_tokens", watch(Serving.count_tokens))
    monkeypatch.setattr(Serving, "generate", watch(Serving.generate))
    async with talking(tmp_path, catalog=scripted(context_length=64), chat={"max_tokens": 8}) as talk:
        started, _, _ = await talk.say("word " * 20)
        seen.clear()
        for _ in range(2):
            started, _, _ = await talk.say("word " * 20, session_id=started.session_id, count_prompt=True)
        assert started.num_trimmed_messages > 0
        assert started.prompt_tokens is not None
        first, second = dict.fromkeys(seen)
        assert first is not None
        assert second is not None
        assert len(seen) > 3


async def test_a_conversation_that_does_not_fit_is_trimmed_and_says_so_everywhere(tmp_path: Path) -> None:
    async with talking(tmp_path, catalog=scripted(context_length=64), chat={"max_tokens": 8}) as talk:
        started, _, _ = await talk.say(system("rules"), "word " * 20)
        session_id = started.session_id
        for _ in range(2):
            started, _, ended = await talk.say("word " * 20, session_id=session_id)
        assert started.num_trimmed_messages == ended.num_trimmed_messages == 2
        assert talk.last_turn().num_trimmed_messages == 2
        prompt = talk.prompts()[-1]
        assert prompt[0] == system("rules")
        assert len(prompt) == 6 - 2
        assert len(talk.store.messages.path(talk.last_turn().answer_message_id or "")) == 7, (
            "what was trimmed is still on record"
        )


async def test_a_model_that_is_not_loaded_yet_trims_by_the_engines_own_refusal(tmp_path: Path) -> None:
    async with talking(tmp_path, catalog=scripted(context_length=64)) as talk:
        started, _, _ = await talk.say("word " * 40, answered("ok"), "word " * 40)
        assert started.num_trimmed_messages == 2


async def declared_what_it_dropped(talk: Talk) -> None:
    """Raises AssertionError where the model saw less than was sent and nobody was told."""
    sent = request("word " * 30, answered("ok"), "word " * 30, answered("ok"), "word " * 30)
    started, _, ended = check_order([event async for event in talk.turns.run(sent)])
    num_missing = len(sent.messages) - len(talk.prompts()[-1])
    assert num_missing > 0
    told = {started.num_trimmed_messages, ended.num_trimmed_messages, talk.last_turn().num_trimmed_messages}
    assert told == {num_missing}, "trimmed and not declared"


async def test_every_message_that_was_dropped_is_declared(tmp_path: Path) -> None:
    async with talking(tmp_path, catalog=scripted(context_length=64)) as talk:
        await declared_what_it_dropped(talk)


class TrimsInSilence(Turns):
    async def _trim(self, turn: Any, limit: int) -> None:
        await super()._trim(turn, limit)
        turn.context = type(turn.context)(turn.context.messages, 0)


async def test_control_a_silent_trim_is_noticed(tmp_path: Path) -> None:
    async with talking(tmp_path, catalog=scripted(context_length=64), turns=TrimsInSilence) as talk:
        with pytest.raises(AssertionError, match="not declared"):
            await declared_what_it_dropped(talk)


@pytest.mark.parametrize("where", ["settings", "request"])
async def test_with_refuse_nothing_is_trimmed(tmp_path: Path, where: str) -> None:
    chat, fields = ({"overflow": "refuse"}, {}) if where == "settings" else ({}, {"overflow": "refuse"})
    async with talking(tmp_path, catalog=scripted(context_length=64), chat=chat) as talk:
        with pytest.raises(ContextOverflow) as caught:
            await talk.say("word " * 40, answered("ok"), "word " * 40, **fields)
        assert (caught.value.details["prompt_tokens"], caught.value.details["limit"]) == (87, 64)
        assert talk.last_turn().error_code == "context_length_exceeded"


async def test_a_prompt_that_cannot_fit_is_refused_with_the_numbers(tmp_path: Path) -> None:
    async with talking(tmp_path, catalog=scripted(context_length=64)) as talk:
        for _ in range(2):  # first while the model is not loaded, then when it is
            with pytest.raises(ContextOverflow) as caught:
                await talk.say("old", answered("ok"), "word " * 80)
            assert caught.value.details["limit"] == 64
            assert caught.value.details["prompt_tokens"] == 83
            with pytest.raises(ContextOverflow):
                await talk.say(prompt="word " * 80)
        assert {turn.outcome for turn in talk.recorded()} == {"failed"}


async def test_settings_fill_in_what_the_client_leaves_open(tmp_path: Path) -> None:
    chat = {"system_prompt": "Be kind.", "max_tokens": 3, "temperature": 0.5}
    async with talking(tmp_path, chat=chat) as talk:
        _, text, ended = await talk.say("Hi")
        first_id = ended.message_id
        assert (text, ended.stop_reason) == ("Hello there, I", "length")
        own = Sampling(max_tokens=2, temperature=0.0, stop=("there",))
        _, _, ended = await talk.say(system("Mine."), "Hi", sampling=own)
        assert (ended.text, ended.stop_string) == ("Hello ", "there")
        (engine,) = talk.catalog.engines
        assert [(asked.sampling.max_tokens, asked.sampling.temperature) for asked in engine.requests] == [
            (3, 0.5),
            (2, 0.0),
        ]
        assert talk.prompts() == [
            (Message("system", "Be kind."), Message("user", "Hi")),
            (Message("system", "Mine."), Message("user", "Hi")),
        ]
        assert [row.role for row in talk.store.messages.path(first_id)] == [
            "user",
            "assistant",
        ]


async def test_an_empty_answer_is_still_a_whole_turn(tmp_path: Path) -> None:
    async with talking(tmp_path, catalog=scripted(answer="")) as talk:
        _, text, ended = await talk.say("Hi")
        assert text == ""
        assert talk.last_turn().answer_message_id == ended.message_id
