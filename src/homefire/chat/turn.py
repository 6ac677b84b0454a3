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
from dataclasses import dataclass, field
from functools import partial
from typing import Literal, TypeVar

import msgspec

from homefire.chat.context import Context, compose, room_for_prompt, surely_fits, trim
from homefire.chat.position import TurnPosition, find_position, named_session
from homefire.chat.request import ChatRequest, Ended, Principal, Started, Stopped, StreamEvent, TurnEvent
from homefire.chat.turn_stream import TurnStream
from homefire.chat.validation import check_request
from homefire.config.schema import ChatSettings, Settings
from homefire.engines.base import EngineRequest, Finish
from homefire.errors import (
    AnswerStopped,
    Conflict,
    ContextOverflow,
    HomefireError,
    RequestTimeout,
)
from homefire.serving.router import Route, Router, RouteRequest
from homefire.serving.serving import Serving
from homefire.sessions import digest
from homefire.sessions.ownership import turn_of
from homefire.store.nouns.conversations import (
    Outcome,
    RecordedMessage,
    SessionRow,
    TurnAsked,
    TurnEnded,
    TurnRow,
)
from homefire.store.store import Store
from homefire.types import Message, Sampling
from homefire.world import World

log = logging.getLogger(__name__)

NUM_REMEMBERED = 256
"""Turns that ended recently and can still be watched from any position."""
MANY_MESSAGES, MANY_CHARS, MANY_TURNS = 50, 50_000, 25
"""Above these a request is prepared on a thread: on the event loop it would take more than a millisecond."""
INTERRUPTED = "The server stopped before this answer was finished."
_T = TypeVar("_T")


@dataclass(slots=True, eq=False)
class RunningTurn:
    """A turn that was taken. `stream` is what it says; the rest is its own."""

    turn_id: str
    request: ChatRequest
    position: TurnPosition
    route: Route
    context: Context
    sampling: Sampling
    asked: TurnAsked
    stream: TurnStream = field(default_factory=TurnStream)
    settled: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the question is on disk (`is_asked`), or cannot be (`stream` then says why)."""
    is_asked: bool = False
    deadline_s: float = 0.0
    """On the event loop's clock; for waiting, counting, loading and generating together."""
    answer: list[str] = field(default_factory=list)
    has_started: bool = False
    is_cancelled: bool = False
    is_recording: bool = False
    ends_as: Outcome = "cancelled"
    """What it is recorded as if its task is cancelled."""
    has_begun: bool = False
    outcome: Outcome | None = None
    """How it ended; None while it runs."""
    ended: Ended | None = None
    """What it ended with, if it was answered."""
    task: asyncio.Task[None] | None = None

    @property
    def text(self) -> str:
        """What was written so far."""
        return "".join(self.answer)

    def on_end(self, tell: Callable[[RunningTurn], None]) -> None:
        """Call `tell` when the turn is over."""
        assert self.task is not None
        self.task.add_done_callback(lambda _: tell(self))

    def cancel(self, outcome: Outcome = "cancelled") -> None:
        """End it now, if it has not ended; what was written is recorded."""
        if self.is_cancelled or self.is_recording:
            return
        self.is_cancelled, self.ends_as = True, outcome
        if self.has_begun:  # a task that is cancelled before its first step would never run at all
            assert self.task is not None
            self.task.cancel()


class Turns:
    """Takes turns. One for each server."""

    def __init__(
        self, store: Store, serving: Serving, router: Router, settings: Settings, *, world: World
    ) -> None:
        self._store = store
        self._serving = serving
        self._router = router
        self._settings: ChatSettings = settings.chat
        self._request_timeout_s = settings.server.request_timeout_s
        self._world = world
        self._queues: dict[str, _Queue] = {}
        self._running: dict[str, RunningTurn] = {}
        self._ended: OrderedDict[str, RunningTurn] = OrderedDict()

    # Taking turns

    async def run(self, request: ChatRequest) -> AsyncGenerator[TurnEvent, None]:
        """Take one turn and watch it: Started (with the first text), Delta…, Ended.

        Closing it cancels the turn, unless the request says otherwise (`on_disconnect`).

        Raises InvalidRequest, ContextOverflow, NotFound (session, turn, model), QueueFull, RequestTimeout,
        EngineError, StoreError; AnswerStopped when it is stopped from elsewhere.
        """
        turn = await self.begin(request)
        try:
            async with aclosing(turn.stream.watch()) as events:
                async for _, event in events:
                    if isinstance(event, Stopped):
                        raise AnswerStopped(
                            "This answer was stopped before it was finished.", hint="Ask again."
                        )
                    yield event
        finally:
            if request.on_disconnect == "cancel":
                turn.cancel()
                await _until_done(turn)

    async def begin(self, request: ChatRequest) -> RunningTurn:
        """Take one turn; when this returns, its question is on disk and it continues by itself.

        Waits for the turns of the same session that came before, for `server.request_timeout_s` at most.
        Raises what `run` raises before its first event, except what the engine says. Cancelled while it
        waits, it leaves nothing behind, or a turn that is recorded as cancelled.
        """
        deadline_s = asyncio.get_running_loop().time() + self._request_timeout_s
        session = named_session(self._store, request)
        is_long = _is_long(request, session)
        await _on_thread_if(is_long, partial(check_request, request))
        route = self._router.route(_to_route(request))
        queue = await self._wait_for_session(session.session_id, deadline_s) if session is not None else None
        try:
            turn = await _on_thread_if(is_long, partial(self._prepare, request, route))
        except BaseException:
            self._leave_session(queue)
            raise
        if queue is None and turn.position.parent_message_id is None:
            # Nobody knows the new session yet, so this does not wait.
            queue = await self._wait_for_session(turn.position.session_id, deadline_s)
        turn.deadline_s = deadline_s
        self._running[turn.turn_id] = turn
        turn.task = asyncio.create_task(self._take(turn, queue), name=f"turn {turn.turn_id}")
        try:
            await turn.settled.wait()
        except asyncio.CancelledError:
            turn.cancel()
            await _until_done(turn)
            raise
        if not turn.is_asked:
            turn.stream.raise_error()
        return turn

    def is_busy(self, session_id: str) -> bool:
        """Whether a turn of this session is under way."""
        return session_id in self._queues

    # Watching turns

    async def watch(
        self, turn_id: str, *, principal: Principal, after: int = 0
    ) -> AsyncGenerator[tuple[int, StreamEvent], None]:
        """`(number, event)` of a turn from any position, whether it is under way or over.

        Of a turn that ended long ago there is the last event alone, which holds its whole text. Raises
        NotFound for a turn that the principal does not have, and what the turn failed with.
        """
        row = turn_of(self._store, principal.id, turn_id)
        turn = self._running.get(turn_id) or self._ended.get(turn_id)
        if turn is None:
            yield after + 1, self._ended_of(row)
            return
        async with aclosing(turn.stream.watch(after=after)) as events:
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
            messages=self._recorded(position),
            requested_model=request.model,
            served_model=route.model.name,
            served_digest=route.model.digest,
            route_reason=route.reason,
        )
        return RunningTurn(turn_id, request, position, route, context, sampling, asked)

    def _recorded(self, position: TurnPosition) -> tuple[RecordedMessage, ...]:
        # Sorted, because identifiers of one millisecond have no order of their own and readers list by them.
        message_ids = sorted(self._world.new_id("msg") for _ in position.new)
        digests = digest.chain_all(position.parent_digest, position.new)
        return tuple(
            RecordedMessage(message_id, message.role, message.content, link)
            for message_id, message, link in zip(message_ids, position.new, digests, strict=True)
        )

    async def _take(self, turn: RunningTurn, queue: _Queue | None) -> None:
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
            self._leave_session(queue)
            del self._running[turn.turn_id]
            self._ended[turn.turn_id] = turn
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
                    turn.stream.publish(_started(turn, await self._prompt_tokens(turn)))
                if isinstance(item, Finish):
                    return _exact(item, turn.sampling)
                turn.answer.append(item.text)
                turn.stream.publish(item)
        raise AssertionError("serving ends a stream with a Finish or an error")

    async def _prompt_tokens(self, turn: RunningTurn) -> int | None:
        if not turn.request.count_prompt:
            return None
        return await self._serving.count_tokens(turn.route, turn.context.messages, prompt=turn.request.prompt)

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
        outcome: Outcome = "cancelled" if finish.stop_reason == "cancelled" else "answered"
        event = self._ended_event(turn, outcome, finish=finish)
        await self._store.append(event)
        assert event.answer is not None
        return Ended(
            turn_id=turn.turn_id,
            message_id=event.answer.message_id,
            text=turn.text,
            stop_reason=finish.stop_reason,
            stop_string=finish.stop_string,
            usage=finish.usage,
            timings=finish.timings,
            num_trimmed_messages=turn.context.num_trimmed_messages,
        )

    async def _record_cancelled(self, turn: RunningTurn) -> HomefireError | None:
        """Record and publish the end of a turn that was cancelled; what kept it from the record otherwise."""
        event = self._ended_event(turn, turn.ends_as)
        try:
            await self._store.append(event)
        except HomefireError as error:
            log.exception("Turn %s was cancelled, and could not be recorded.", turn.turn_id)
            return error
        turn.stream.publish(
            Stopped(
                turn_id=turn.turn_id,
                message_id=event.answer.message_id if event.answer else None,
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
        turn.is_recording = True
        try:
            await self._store.append(
                self._ended_event(turn, "failed", error_code=error.code, error=str(error))
            )
        except HomefireError:
            log.exception("Turn %s failed (%s), and that could not be recorded.", turn.turn_id, error)

    def _ended_event(
        self,
        turn: RunningTurn,
        outcome: Outcome,
        *,
        finish: Finish | None = None,
        error_code: str | None = None,
        error: str | None = None,
    ) -> TurnEnded:
        turn.outcome = outcome
        if outcome == "interrupted":
            error_code, error = "server_stopping", INTERRUPTED
        return TurnEnded(
            turn_id=turn.turn_id,
            outcome=outcome,
            answer=self._recorded_answer(turn) if finish is not None or turn.answer else None,
            stop_reason=finish.stop_reason if finish else "cancelled" if outcome == "cancelled" else None,
            usage=finish.usage if finish else None,
            timings=finish.timings if finish else None,
            num_trimmed_messages=turn.context.num_trimmed_messages,
            error_code=error_code,
            error=error,
        )

    def _recorded_answer(self, turn: RunningTurn) -> RecordedMessage:
        asked = turn.asked.messages
        message = Message("assistant", turn.text)
        link = digest.chain(asked[-1].digest if asked else turn.position.parent_digest, message)
        return RecordedMessage(self._world.new_id("msg"), message.role, message.content, link)

    # Reading turns that are over

    def _ended_of(self, row: TurnRow) -> Ended | Stopped:
        if row.outcome is None:
            raise Conflict(f"Turn {row.turn_id} was left unfinished.", hint="Ask again.", turn_id=row.turn_id)
        if row.outcome == "failed":
            raise Conflict(
                f"This turn failed: {row.error or row.error_code}", hint="Ask again.", turn_id=row.turn_id
            )
        path = self._store.messages.path(row.answer_message_id) if row.answer_message_id else []
        text = path[-1].message.text if path else ""
        if row.outcome == "interrupted" or row.usage is None or row.timings is None or not path:
            outcome: Literal["cancelled", "interrupted"] = (
                "interrupted" if row.outcome == "interrupted" else "cancelled"
            )
            return Stopped(turn_id=row.turn_id, message_id=row.answer_message_id, text=text, outcome=outcome)
        return Ended(
            turn_id=row.turn_id,
            message_id=path[-1].message_id,
            text=text,
            stop_reason=row.stop_reason or "stop",
            stop_string=None,
            usage=row.usage,
            timings=row.timings,
            num_trimmed_messages=row.num_trimmed_messages,
        )

    # One at a time

    async def _wait_for_session(self, session_id: str, deadline_s: float) -> _Queue:
        queue = self._queues.setdefault(session_id, _Queue(session_id))
        queue.num_users += 1
        try:
            async with asyncio.timeout_at(deadline_s):
                await queue.lock.acquire()
        except BaseException as error:
            queue.num_users -= 1
            self._drop_if_unused(queue)
            if isinstance(error, TimeoutError):
                raise RequestTimeout(
                    f"The turns before this one in its session took longer than {self._request_timeout_s:g} s.",
                    hint="Wait for them or stop them, or raise server.request_timeout_s.",
                    session_id=session_id,
                ) from None
            raise
        return queue

    def _leave_session(self, queue: _Queue | None) -> None:
        if queue is not None:
            queue.num_users -= 1
            queue.lock.release()
            self._drop_if_unused(queue)

    def _drop_if_unused(self, queue: _Queue) -> None:
        if not queue.num_users:
            del self._queues[queue.session_id]


@dataclass(slots=True)
class _Queue:
    """Those who take or wait for a turn in one session."""

    session_id: str
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    num_users: int = 0


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


def _exact(finish: Finish, sampling: Sampling) -> Finish:
    """Engines say `length` for either limit; fewer tokens than asked for means that the context is full."""
    assert sampling.max_tokens is not None
    if finish.stop_reason == "length" and finish.usage.completion_tokens < sampling.max_tokens:
        return msgspec.structs.replace(finish, stop_reason="context")
    return finish


def _started(turn: RunningTurn, prompt_tokens: int | None) -> Started:
    return Started(
        turn_id=turn.turn_id,
        session_id=turn.position.session_id,
        model=turn.request.model,
        served_model=turn.route.model.name,
        route_reason=turn.route.reason,
        num_trimmed_messages=turn.context.num_trimmed_messages,
        prompt_tokens=prompt_tokens,
    )
