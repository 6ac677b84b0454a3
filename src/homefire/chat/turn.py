"""One turn, from a message to a recorded answer: the only place where the circle's serving half is walked.

    check → position in a session → context → route → the question on record → serving → the answer on record

Promises:
- what was asked is on disk before anything is generated, and stays there however the turn ends: a failed,
  stopped or interrupted turn can be asked again;
- a turn belongs to the server: it continues no matter who watches. `run` cancels it when its reader leaves (unless the
  request says otherwise), `begin` leaves that to the caller;
- when Ended is seen, the answer is on disk; if it cannot be recorded the watchers get that error, never an
  Ended;
- a cancelled turn is recorded as cancelled, with what was said so far; an engine's failure as failed, then
  raised; a turn that the end of the server cuts off as interrupted, at the latest when it starts again;
- messages left out of a prompt are declared in Started, in Ended and in the record;
- turns of one named session are taken one at a time; a session is only ever its principal's.

What is refused before it is taken (bad input, an unknown model, somebody else's session) is not a turn: nothing
is recorded. Costs two appends and a task, about 0.2 ms of this process besides the engine. Requests that would
hold up the event loop (long conversations) are prepared on a thread.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from functools import partial
from typing import TypeVar, cast

import msgspec

from homefire.chat.context import Context, compose, room_for_prompt, surely_fits, trim
from homefire.chat.position import find_position, named_session
from homefire.chat.request import ChatRequest, Ended, Principal, Started, Stopped, StreamEvent, TurnEvent
from homefire.chat.running_turn import RunningTurn
from homefire.chat.session_queues import SessionQueues
from homefire.chat.turn_records import INTERRUPTED, answer_id, ended_event, read_end
from homefire.chat.turn_stream import TurnStream
from homefire.chat.validation import check_request
from homefire.config.schema import ChatSettings, Settings
from homefire.engines.base import Delta, EngineRequest, Finish
from homefire.errors import (
    AnswerStopped,
    ContextOverflow,
    HomefireError,
)
from homefire.serving.router import Route, Router, RouteRequest
from homefire.serving.serving import Serving
from homefire.sessions.ownership import turn_of
from homefire.store.nouns.conversation_rows import SessionRow
from homefire.store.nouns.conversations import TurnAsked, TurnEnded
from homefire.store.store import Store
from homefire.world import World

log = logging.getLogger(__name__)

NUM_REMEMBERED = 256
"""Turns that ended recently and can still be watched from any position."""
MANY_MESSAGES, MANY_CHARS, MANY_TURNS = 50, 50_000, 25
"""Above these a request is prepared on a thread: on the event loop it would take more than a millisecond."""
_T = TypeVar("_T")


class Turns:
    """Takes turns. One for each server."""

    def __init__(
        self,
        store: Store,
        serving: Serving,
        router: Router,
        settings: Settings,
        *,
        world: World,
        on_question: Callable[[ChatRequest], None] = lambda _asked: None,
    ) -> None:
        """`on_question` is called when a turn begins; it must be quick and raise nothing."""
        self._store = store
        self._on_question = on_question
        self._serving = serving
        self._router = router
        self._settings: ChatSettings = settings.chat
        self._request_timeout_s = settings.server.request_timeout_s
        self._world = world
        self._queues = SessionQueues(timeout_s=settings.server.request_timeout_s)
        self._running: dict[str, RunningTurn] = {}
        self._ended: OrderedDict[str, TurnStream] = OrderedDict()

    # Taking turns

    async def run(self, request: ChatRequest) -> AsyncGenerator[TurnEvent, None]:
        """Take one turn and watch it: Started (with the first text), Delta…, Ended.

        Closing it cancels the turn, unless the request says otherwise (`on_disconnect`).

        Raises InvalidRequest, ContextOverflow, NotFound (session, turn, model), QueueFull, RequestTimeout,
        EngineError, StoreError; AnswerStopped when it is stopped from elsewhere.
        """
        turn = await self._start(request)
        try:
            async with aclosing(turn.stream.watch()) as events:
                async for _, event in events:
                    yield _not_stopped(event)
        finally:
            await _left_by_its_reader(turn)

    async def run_whole(self, request: ChatRequest) -> tuple[Started, list[Delta], Ended]:
        """`run` for a reader who needs the answer only when it is whole: all its events at once."""
        turn = await self._start(request)
        try:
            started, *deltas, ended = map(_not_stopped, await turn.stream.all_events())
        finally:
            await _left_by_its_reader(turn)
        assert isinstance(started, Started), "a turn says where it begins"
        assert isinstance(ended, Ended), "a turn that raises nothing says how it ended"
        return started, cast("list[Delta]", deltas), ended

    async def begin(self, request: ChatRequest) -> RunningTurn:
        """Take one turn; when this returns, its question is on disk and it continues by itself.

        Waits for the turns of the same session that came before, for `server.request_timeout_s` at most.
        Raises what `run` raises before its first event, except what the engine says. Cancelled while it
        waits, it leaves nothing behind, or a turn that is recorded as cancelled.
        """
        turn = await self._start(request)
        try:
            await turn.settled.wait()
        except asyncio.CancelledError:
            turn.cancel()
            await _until_done(turn)
            raise
        if not turn.is_asked:
            turn.stream.raise_error()
        return turn

    async def _start(self, request: ChatRequest) -> RunningTurn:
        """A turn whose task is under way; its question is being recorded."""
        deadline_s = asyncio.get_running_loop().time() + self._request_timeout_s
        session = named_session(self._store, request)
        is_long = _is_long(request, session)
        await _on_thread_if(is_long, partial(check_request, request))
        route = self._router.route(_to_route(request))
        if session is not None:
            await self._queues.enter(session.session_id, deadline_s=deadline_s)
        try:
            turn = await _on_thread_if(is_long, partial(self._prepare, request, route))
        except BaseException:
            if session is not None:
                self._queues.leave(session.session_id)
            raise
        turn.is_queued = session is not None
        if session is None and turn.position.parent_message_id is None:
            # Nobody knows the new session yet, so this does not wait.
            await self._queues.enter(turn.position.session_id, deadline_s=deadline_s)
            turn.is_queued = True
        turn.deadline_s = deadline_s
        self._on_question(request)
        self._running[turn.turn_id] = turn
        turn.task = asyncio.create_task(self._take(turn), name=f"turn {turn.turn_id}")
        return turn

    def is_busy(self, session_id: str) -> bool:
        """Whether a turn of this session is under way."""
        return self._queues.is_busy(session_id)

    # Watching turns

    async def watch(
        self, turn_id: str, *, principal: Principal, after: int = 0
    ) -> AsyncGenerator[tuple[int, StreamEvent], None]:
        """`(number, event)` of a turn from any position, whether it is under way or over.

        Of a turn that ended long ago there is the last event alone, which holds its whole text. Raises
        NotFound for a turn that the principal does not have, and what the turn failed with.
        """
        row = turn_of(self._store, principal.id, turn_id)
        turn = self._running.get(turn_id)
        stream = turn.stream if turn is not None else self._ended.get(turn_id)
        if stream is None:
            yield after + 1, read_end(self._store, row)
            return
        async with aclosing(stream.watch(after=after)) as events:
            async for number, event in events:
                yield number, event

    @property
    def num_running(self) -> int:
        """Turns under way."""
        return len(self._running)

    def is_under_way(self, turn_id: str) -> bool:
        """Whether the turn is being answered now."""
        return turn_id in self._running

    async def cancel(self, turn_id: str, *, principal: Principal) -> None:
        """End a turn; returns when it is recorded. Nothing happens to one that is over.

        Raises NotFound for a turn that the principal does not have.
        """
        turn_of(self._store, principal.id, turn_id)
        turn = self._running.get(turn_id)
        if turn is not None:
            turn.cancel()
            await _until_done(turn)

    # The server's start and end

    async def recover(self) -> int:
        """Record the turns that the last server left unfinished as interrupted; returns how many."""
        left = self._store.turns.under_way()
        for turn in left:
            await self._store.append(
                TurnEnded(
                    turn_id=turn.turn_id,
                    outcome="interrupted",
                    answer=None,
                    error_code="server_stopping",
                    error=INTERRUPTED,
                )
            )
        return len(left)

    async def stop(self, *, grace_s: float = 0.0) -> None:
        """Let turns end within `grace_s`, then interrupt and record those that have not."""
        tasks = [turn.task for turn in self._running.values() if turn.task is not None]
        if tasks and grace_s > 0:
            await asyncio.wait(tasks, timeout=grace_s)
        for turn in list(self._running.values()):
            turn.cancel("interrupted")
        if tasks:
            await asyncio.wait(tasks)

    # One turn

    def _prepare(self, request: ChatRequest, route: Route) -> RunningTurn:
        settings = self._settings
        position = find_position(self._store, self._world, request)
        context = (
            Context(())
            if request.prompt is not None
            else compose(position.conversation, system_prompt=settings.system_prompt)
        )
        sampling = request.sampling
        if sampling.max_tokens is None:
            sampling = msgspec.structs.replace(sampling, max_tokens=settings.max_tokens)
        if sampling.temperature is None and settings.temperature is not None:
            sampling = msgspec.structs.replace(sampling, temperature=settings.temperature)
        turn_id = self._world.new_id("turn")
        asked = TurnAsked(
            turn_id=turn_id,
            session_id=position.session_id,
            session_key=position.session_key,
            principal=request.principal.id,
            channel=request.channel,
            parent_message_id=position.parent_message_id,
            messages=position.new,
            requested_model=request.model,
            served_model=route.model.name,
            served_digest=route.model.digest,
            route_reason=route.reason,
        )
        return RunningTurn(turn_id, request, position, route, context, sampling, asked)

    async def _take(self, turn: RunningTurn) -> None:
        """The turn's task: nothing that happens to it is lost, and it always frees its session."""
        error: Exception | None = None
        turn.has_begun = True
        try:
            if turn.is_cancelled:
                return
            await self._store.append(turn.asked)
            turn.is_asked = True
            turn.settled.set()
            finish = await self._answer(turn)
            turn.ended = await self._record_answer(turn, finish)
            turn.stream.publish(turn.ended)
        except asyncio.CancelledError:
            error = await self._record_cancelled(turn)
        except Exception as failure:  # noqa: BLE001 - handed to the watchers
            error = failure
            await self._record_failed(turn, failure)
        finally:
            turn.stream.close(error)
            turn.settled.set()
            if turn.is_queued:
                self._queues.leave(turn.position.session_id)
            del self._running[turn.turn_id]
            self._ended[turn.turn_id] = turn.stream
            if len(self._ended) > NUM_REMEMBERED:
                self._ended.popitem(last=False)

    async def _answer(self, turn: RunningTurn) -> Finish:
        may_trim = turn.request.prompt is None and (
            (turn.request.overflow or self._settings.overflow) == "trim"
        )
        limit = self._serving.context_length(turn.route)
        if may_trim and limit is not None and not _surely_fits(turn, limit):
            await self._trim(turn, limit)
        try:
            return await self._generate(turn)
        except ContextOverflow as overflow:
            if not may_trim or turn.has_started or turn.context.num_trimmed_messages:
                raise
            limit = int(overflow.details["limit"])
        await self._trim(turn, limit)
        return await self._generate(turn)

    async def _generate(self, turn: RunningTurn) -> Finish:
        request = EngineRequest(
            messages=turn.context.messages,
            prompt=turn.request.prompt,
            sampling=turn.sampling,
            conversation=turn.position.session_id,
        )
        async with aclosing(
            self._serving.generate(turn.route, request, deadline_s=turn.deadline_s)
        ) as stream:
            async for item in stream:
                if not turn.has_started:
                    turn.has_started = True
                    turn.stream.publish(turn.describe_start(await self._prompt_tokens(turn)))
                if isinstance(item, Finish):
                    return item
                turn.answer.append(item.text)
                turn.stream.publish(item)
        raise AssertionError("serving ends a stream with a Finish or an error")

    async def _prompt_tokens(self, turn: RunningTurn) -> int | None:
        if not turn.request.count_prompt:
            return None
        return await self._serving.count_tokens(
            turn.route, turn.context.messages, prompt=turn.request.prompt, deadline_s=turn.deadline_s
        )

    async def _trim(self, turn: RunningTurn, limit: int) -> None:
        assert turn.sampling.max_tokens is not None
        turn.context = await trim(
            turn.context,
            limit=limit,
            max_tokens=turn.sampling.max_tokens,
            count=partial(self._serving.count_tokens, turn.route, deadline_s=turn.deadline_s),
        )

    # Recording how it ended

    async def _record_answer(self, turn: RunningTurn, finish: Finish) -> Ended:
        turn.is_recording = True
        turn.outcome = "cancelled" if finish.stop_reason == "cancelled" else "answered"
        event = ended_event(turn, turn.outcome, finish=finish)
        (recorded,) = await self._store.append(event)
        message_id = answer_id(recorded)
        assert message_id is not None
        return Ended(
            turn_id=turn.turn_id,
            message_id=message_id,
            text=turn.text,
            stop_reason=finish.stop_reason,
            stop_string=finish.stop_string,
            usage=finish.usage,
            timings=finish.timings,
            num_trimmed_messages=turn.context.num_trimmed_messages,
        )

    async def _record_cancelled(self, turn: RunningTurn) -> HomefireError | None:
        """Record and publish the end of a turn that was cancelled; what kept it from the record otherwise."""
        turn.outcome = turn.ends_as
        event = ended_event(turn, turn.outcome)
        try:
            (recorded,) = await self._store.append(event)
        except HomefireError as error:
            log.exception("Turn %s was cancelled, and could not be recorded.", turn.turn_id)
            return error
        turn.stream.publish(
            Stopped(
                turn_id=turn.turn_id,
                message_id=answer_id(recorded),
                text=turn.text,
                outcome="interrupted" if turn.ends_as == "interrupted" else "cancelled",
            )
        )
        return None

    async def _record_failed(self, turn: RunningTurn, failure: Exception) -> None:
        if not turn.is_asked or turn.is_recording:
            return  # it is the store that failed: there is no question on record, or no room for its answer
        if not isinstance(failure, HomefireError):
            log.error("Turn %s failed unexpectedly.", turn.turn_id, exc_info=failure)
        error = failure if isinstance(failure, HomefireError) else HomefireError("Something went wrong.")
        turn.is_recording, turn.outcome = True, "failed"
        try:
            await self._store.append(ended_event(turn, "failed", error_code=error.code, error=str(error)))
        except HomefireError:
            log.exception("Turn %s failed (%s), and that could not be recorded.", turn.turn_id, error)


def _is_long(request: ChatRequest, session: SessionRow | None) -> bool:
    """Whether preparing this request would hold up the event loop."""
    messages = request.messages
    if len(messages) > MANY_MESSAGES or (session is not None and session.num_turns > MANY_TURNS):
        return True
    num_chars = sum(len(message.content) for message in messages if isinstance(message.content, str))
    return num_chars > MANY_CHARS


def _to_route(request: ChatRequest) -> RouteRequest:
    return RouteRequest(
        model=request.model,
        messages=request.messages,
        channel=request.channel,
        principal_id=request.principal.id,
        session_id=request.session_id,
    )


async def _on_thread_if(is_long: bool, work: Callable[[], _T]) -> _T:
    return await asyncio.to_thread(work) if is_long else work()


def _not_stopped(event: StreamEvent) -> TurnEvent:
    if isinstance(event, Stopped):
        raise AnswerStopped("This answer was stopped before it was finished.", hint="Ask again.")
    return event


async def _left_by_its_reader(turn: RunningTurn) -> None:
    """Cancel what nobody reads any more, unless its request says otherwise."""
    if turn.request.on_disconnect == "cancel":
        turn.cancel()
        await _until_done(turn)


async def _until_done(turn: RunningTurn) -> None:
    """Until the turn's end is recorded, however often the one who waits is cancelled."""
    assert turn.task is not None
    cancelled = False
    while not turn.task.done():
        try:
            await asyncio.wait([turn.task])
        except asyncio.CancelledError:
            cancelled = True
    if cancelled:
        raise asyncio.CancelledError


def _surely_fits(turn: RunningTurn, limit: int) -> bool:
    assert turn.sampling.max_tokens is not None
    room = room_for_prompt(limit, max_tokens=turn.sampling.max_tokens)
    return surely_fits(turn.context.messages, room=room)
