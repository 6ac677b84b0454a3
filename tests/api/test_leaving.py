"""Who leaves, who is cut off at the end, and who never finishes a request: with a planted bug for each."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from homefire.api import connection, guard
from homefire.api.connection import Connection
from homefire.api.guard import HomefireApp
from homefire.api.run import Server, bind, uvicorn_config
from tests.api.house import LOCAL, RUN, House, close_house, open_house, queue_run

Plant = Callable[[pytest.MonkeyPatch], None]
CHAT = "/v1/chat/completions"


# A client that leaves


class Leaver:
    """A client that sends one request and disconnects when `leave` is set."""

    def __init__(self, path: str, document: dict[str, Any]) -> None:
        self.leave = asyncio.Event()
        self.sent: list[Any] = []
        self._body: bytes | None = json.dumps(document).encode()
        self.scope = {
            "type": "http", "http_version": "1.1", "method": "POST", "scheme": "http", "path": path,
            "raw_path": path.encode(), "query_string": b"", "root_path": "", "client": LOCAL,
            "server": ("localhost", 8765), "state": {},
            "headers": [(b"host", b"localhost"), (b"content-type", b"application/json")],
        }  # fmt: skip

    async def receive(self) -> dict[str, Any]:
        if self._body is not None:
            message, self._body = {"type": "http.request", "body": self._body, "more_body": False}, None
            return message
        await self.leave.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        self.sent.append(message)


async def held_after_leaving(folder: Path, *, streamed: bool) -> list[str]:
    """What a request still holds in the moment after its client has left."""
    house = await open_house(folder, gate=asyncio.Event())
    document = {"model": "default", "messages": [{"role": "user", "content": "hi"}], "stream": streamed}
    client = Leaver(CHAT, document)
    answering = asyncio.create_task(house.app(client.scope, client.receive, client.send))
    while not house.engines or not house.engines[0].num_active:
        assert not answering.done(), client.sent
        await asyncio.sleep(0)
    client.leave.set()
    await asyncio.wait([answering], timeout=0.5)
    (engine,) = house.engines
    held = ["its task"] if not answering.done() else []
    held += ["its slot"] if engine.num_active else []
    held += ["its place in the queue"] if house.homefire.serving.queue().num_active else []
    outcomes = [
        turn.outcome
        for session in house.store.sessions.list("local")
        for turn in house.store.turns.list(session.session_id)
    ]
    held += [f"a record that says {outcomes}"] if outcomes != ["cancelled"] else []
    answering.cancel()
    await asyncio.wait([answering])
    await close_house(house)
    return held


@pytest.mark.parametrize("streamed", [True, False])
async def test_a_client_that_leaves_holds_nothing(tmp_path: Path, streamed: bool) -> None:
    assert await held_after_leaving(tmp_path, streamed=streamed) == []


@pytest.mark.parametrize("streamed", [True, False])
async def test_planted_bug_a_client_whose_leaving_is_not_seen_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, streamed: bool
) -> None:
    monkeypatch.setattr(guard, "CancelOnDisconnect", lambda receive, is_complete: nullcontext())
    held = await held_after_leaving(tmp_path, streamed=streamed)
    assert held == ["its task", "its slot", "its place in the queue", "a record that says [None]"]


# A server that drains


@asynccontextmanager
async def listening(house: House, *, drain_timeout_s: float = 1.0) -> AsyncIterator[tuple[Server, int]]:
    """The house behind a real socket, in this loop; the server and its port."""
    listener, ready = bind("127.0.0.1", 0), asyncio.Event()
    port: int = listener.getsockname()[1]
    config = uvicorn_config(house.app, drain_timeout_s=drain_timeout_s)
    server = Server(config, house.app, on_ready=ready.set)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    await ready.wait()
    try:
        yield server, port
    finally:
        server.should_exit = True
        await serving
        await close_house(house)


async def drained(
    folder: Path, method: str, path: str, document: Any, *, delay_s: float, drain_timeout_s: float
) -> tuple[httpx.Response | Exception, float]:
    """What a client gets who is being answered when the server is told to end, and how many seconds that
    takes. The engine takes `delay_s` a word."""
    house = await open_house(folder, delay_s=delay_s)
    await queue_run(house)
    async with (
        listening(house, drain_timeout_s=drain_timeout_s) as (server, port),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=10) as client,
    ):
        asking = asyncio.create_task(client.request(method, path, json=document))
        while not server.server_state.tasks:
            await asyncio.wait([asking], timeout=0.001)
        asked_s = time.monotonic()
        server.should_exit = True
        (answer,) = await asyncio.gather(asking, return_exceptions=True)
        took_s = time.monotonic() - asked_s
    assert not isinstance(answer, asyncio.CancelledError)
    return answer, took_s  # type: ignore[return-value]


async def is_finished(folder: Path) -> bool:
    """Whether an answer of half a second is whole although the server was told to end."""
    document = {"message": "hi", "stream": True}
    answer, _ = await drained(folder, "POST", "/v1/chat", document, delay_s=0.1, drain_timeout_s=5)
    return isinstance(answer, httpx.Response) and "event: ended" in answer.text


async def is_told(folder: Path) -> bool:
    """Whether the client of an answer that outlasts the drain is told why it gets none."""
    answer, _ = await drained(folder, "POST", "/v1/chat", {"message": "hi"}, delay_s=30, drain_timeout_s=1)
    return (
        isinstance(answer, httpx.Response)
        and answer.status_code == 503
        and answer.json()["error"]["code"] == "server_stopping"
    )


async def holds_up(folder: Path) -> bool:
    """Whether a stream without an end keeps the server until its drain is over."""
    path = f"/v1/runs/{RUN}/events"
    _, took_s = await drained(folder, "GET", path, None, delay_s=0, drain_timeout_s=2)
    return took_s > 1.5


def cut_off(patch: pytest.MonkeyPatch) -> None:
    """The drain lets nobody finish."""
    real = Server.shutdown

    async def at_once(self: Server, sockets: Any = None) -> None:
        self.config.timeout_graceful_shutdown = 0
        await real(self, sockets)

    patch.setattr(Server, "shutdown", at_once)


def say_nothing(patch: pytest.MonkeyPatch) -> None:
    """Nobody is told that the server stops."""
    patch.setattr(Server, "shutdown", uvicorn.Server.shutdown)


async def test_a_drain_lets_answers_finish_and_ends_what_has_no_end(tmp_path: Path) -> None:
    assert await is_finished(tmp_path / "short")
    assert not await holds_up(tmp_path / "endless")


async def test_an_answer_that_outlasts_the_drain_is_told_why(tmp_path: Path) -> None:
    assert await is_told(tmp_path)


async def test_planted_bug_a_drain_that_cuts_answers_off_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_off(monkeypatch)
    assert not await is_finished(tmp_path)


async def test_planted_bug_a_drain_that_tells_nobody_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    say_nothing(monkeypatch)
    assert await holds_up(tmp_path)


async def test_planted_bug_a_drain_that_cancels_without_a_word_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    say_nothing(monkeypatch)
    assert not await is_told(tmp_path)


# A client that sends slowly, or without an end

HEAD_THAT_STOPS = b"GET /health HTTP/1.1\r\nhost: local"
BODY_THAT_STOPS = (
    b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    b"content-length: 100\r\nconnection: close\r\n\r\n{"
)
HEADER_WITHOUT_END = b"GET /health HTTP/1.1\r\nx: " + b"x" * (1 << 20)


async def is_held(folder: Path, request: bytes) -> bool:
    """Whether a client that sends this and then nothing still has its connection when all limits (0.2 s for
    a head or a body) are over."""
    house = await open_house(folder, request_timeout_s=0.2)
    async with listening(house) as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(request)
            async with asyncio.timeout(1.0):
                await writer.drain()
                await reader.read()
        except TimeoutError:
            return True
        except ConnectionError:
            return False
        finally:
            writer.close()
    return False


def wait_for_the_head(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Connection, "_give_up", lambda self: None)


def take_any_head(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(connection, "MAX_HEAD_BYTES", 1 << 40)


def wait_for_the_body(patch: pytest.MonkeyPatch) -> None:
    real = HomefireApp.__init__

    def patient(self: HomefireApp, *arguments: Any, **options: Any) -> None:
        real(self, *arguments, **options)
        self._timeout_s = 60.0

    patch.setattr(HomefireApp, "__init__", patient)


@pytest.mark.parametrize(
    ("request_bytes", "head_s", "plant"),
    [
        pytest.param(HEAD_THAT_STOPS, 0.2, wait_for_the_head, id="head"),
        pytest.param(HEADER_WITHOUT_END, 20.0, take_any_head, id="header"),
        pytest.param(BODY_THAT_STOPS, 20.0, wait_for_the_body, id="body"),
    ],
)
async def test_a_slow_client_holds_nothing_and_one_that_may_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request_bytes: bytes, head_s: float, plant: Plant
) -> None:
    monkeypatch.setattr(connection, "MAX_HEAD_S", head_s)
    assert not await is_held(tmp_path / "sound", request_bytes)
    plant(monkeypatch)
    assert await is_held(tmp_path / "planted", request_bytes)
