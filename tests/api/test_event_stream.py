"""Event streams: what an event is, and that a stream ends with its source, its client and the server."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from typing import Any

import pytest
from starlette.requests import Request

from homefire.api import event_stream
from homefire.api.event_stream import EventStream, encode_event, last_event_id
from homefire.errors import NotFound
from tests.api.asking import Asker, until
from tests.api.house import House

Source = Callable[[], AsyncGenerator[bytes, None]]


def test_an_event_has_a_name_data_and_an_id() -> None:
    assert encode_event("delta", {"text": "a\nb"}) == b'event: delta\ndata: {"text":"a\\nb"}\n\n'
    assert encode_event("delta", "<p>\n</p>", event_id="7") == (
        b"event: delta\nid: 7\ndata: <p>\ndata: </p>\n\n"
    )


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
def test_no_text_ends_an_event_early(end: str) -> None:
    said = f"a{end}{end}event: evil{end}data: b"
    lines = encode_event("delta", said).decode().splitlines()
    assert lines == ["event: delta", "data: a", "data: ", "data: event: evil", "data: data: b", ""]
    with pytest.raises(ValueError, match="one line"):
        encode_event(f"delta{end}", "x")
    with pytest.raises(ValueError, match="one line"):
        encode_event("delta", "x", event_id=f"1{end}2")


def test_a_client_that_comes_back_says_what_it_saw() -> None:
    scope = {"type": "http", "headers": [(b"last-event-id", b"41")]}
    assert last_event_id(Request(scope)) == "41"
    assert last_event_id(Request({"type": "http", "headers": []})) is None


def streamed(house: House, source: Source) -> Asker:
    """A client of a new route that streams what the source gives."""

    @house.app.get("/v1/follow")
    async def follow() -> EventStream:
        context = house.app.state.context
        return EventStream(source(), stopping=context.stopping, redact=house.homefire.redactor.redact)

    return Asker("/v1/follow", method="GET")


class Endless:
    """A source that waits for ever between its events, and says what became of it."""

    def __init__(self, num_events: int = 2) -> None:
        self.num_events, self.is_begun, self.is_closed = num_events, False, False

    async def __call__(self) -> AsyncGenerator[bytes, None]:
        self.is_begun = True
        try:
            for number in range(self.num_events):
                yield encode_event("tick", number)
            await asyncio.Event().wait()
        finally:
            # Closing takes a while, as where a turn is recorded.
            await asyncio.sleep(0)
            self.is_closed = True


async def test_a_stream_ends_with_its_source(house: House) -> None:
    async def source() -> AsyncGenerator[bytes, None]:
        yield encode_event("tick", 1)

    client = streamed(house, source)
    await client.ask(house)
    assert (client.status, client.text, client.is_whole) == (200, "event: tick\ndata: 1\n\n", True)


async def test_an_error_of_the_source_is_the_last_event(house: House) -> None:
    async def source() -> AsyncGenerator[bytes, None]:
        yield encode_event("tick", 1)
        raise NotFound("It is gone.")

    client = streamed(house, source)
    await client.ask(house)
    assert client.text.splitlines()[3] == "event: error"
    assert "It is gone." in client.text
    assert client.is_whole


async def test_an_error_of_the_source_gives_no_key_away(house: House) -> None:
    async def source() -> AsyncGenerator[bytes, None]:
        yield encode_event("tick", 1)
        raise NotFound(f"There is no file for {house.key}.")

    client = streamed(house, source)
    await client.ask(house)
    assert "There is no file for" in client.text
    assert house.key not in client.text


async def test_a_stream_ends_when_the_server_drains(house: House) -> None:
    source = Endless()
    client = streamed(house, source)
    answering = client.ask(house)
    await until(lambda: client.text.count("tick") == 2)
    house.app.state.context.stopping.set()
    await answering
    assert client.is_whole
    assert source.is_closed


async def test_a_client_that_leaves_at_any_moment_closes_the_source_and_no_running_one(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    problems: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(context))
    sources = []

    def source() -> AsyncGenerator[bytes, None]:
        sources.append(Endless(num_events=5))
        return sources[-1]()

    streamed(house, source)
    for num_steps in range(60):
        client = Asker("/v1/follow", method="GET")
        answering = client.ask(house)
        for _ in range(num_steps):
            await asyncio.sleep(0)
        client.leave.set()
        await answering
        await until(lambda: all(source.is_closed or not source.is_begun for source in sources))
    assert problems == []
    assert "already running" not in caplog.text
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
    assert any(source.is_closed for source in sources)


async def test_a_quiet_stream_shows_that_it_lives(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "KEEP_ALIVE_S", 0.01)
    client = streamed(house, Endless(num_events=0))
    answering = client.ask(house)
    async with asyncio.timeout(20):
        await client.got(lambda: client.text.count(": here") >= 2)
    client.leave.set()
    await answering


async def test_a_stream_outlasts_the_deadline_of_a_request(house: House) -> None:
    house.app._timeout_s = 0.02
    client = streamed(house, Endless())
    answering = client.ask(house)
    await asyncio.wait([answering], timeout=0.2)
    assert not answering.done()
    client.leave.set()
    await answering
