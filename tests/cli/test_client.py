from __future__ import annotations

import threading
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from homefire.cli.address import Address
from homefire.cli.arguments import path_of
from homefire.cli.client import Client, UnknownServerError
from homefire.errors import (
    AuthenticationRequired,
    EngineCrashed,
    InvalidRequest,
    ModelNotFound,
    NotFound,
    ServerUnreachable,
)
from tests.cli.fake_server import FakeServer


def address(url: str, *, key: str | None = None) -> Address:
    return Address(url, key, None, "test")


def test_the_servers_errors_arrive_as_their_own_types_with_hint_and_figures(server: FakeServer) -> None:
    with Client(address(server.url)) as client, pytest.raises(ModelNotFound) as caught:
        client.get("/v1/route", model="embr")
    assert caught.value.hint == "Did you mean 'ember'?"
    assert caught.value.details == {"nearest": "ember"}
    with Client(address(server.url)) as client, pytest.raises(NotFound):
        client.get("/nowhere")


def test_no_server_is_an_error_that_says_how_to_start_one() -> None:
    with Client(address("http://127.0.0.1:9")) as client, pytest.raises(ServerUnreachable) as caught:
        client.get("/health")
    assert "homefire up" in str(caught.value)
    with Client(address("http://127.0.0.1:9")) as client:
        assert not client.is_up()


def test_a_broken_connection_and_a_timeout_are_unreachable_too() -> None:
    def broken(request: httpx.Request) -> httpx.Response:
        raise httpx.RemoteProtocolError("Server disconnected")

    def late(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("late")

    for handler, words in ((broken, "broke"), (late, "too long")):
        with (
            Client(address("http://127.0.0.1:9"), transport=httpx.MockTransport(handler)) as client,
            pytest.raises(ServerUnreachable, match=words),
        ):
            client.get("/health")


def test_an_error_event_in_a_stream_is_raised(server: FakeServer) -> None:
    server.state.error_after_deltas = EngineCrashed("The engine died.")
    with Client(address(server.url)) as client, pytest.raises(EngineCrashed, match="died"):
        list(client.events("/v1/chat", {"message": "Hi", "stream": True}))


def test_closing_a_stream_closes_the_connection(server: FakeServer) -> None:
    server.state.hold = threading.Event()
    with (
        Client(address(server.url)) as client,
        closing(client.events("/v1/chat", {"message": "x", "stream": True})) as events,
    ):
        assert next(events)[0] == "started"
        assert next(events) == ("delta", {"text": "Hello,"})
    for _ in range(200):
        if server.state.disconnects:
            break
        threading.Event().wait(0.01)
    assert server.state.disconnects == 1


def test_a_key_is_sent_where_one_was_given(server: FakeServer) -> None:
    server.state.key = "hf-right"
    with Client(address(server.url, key="hf-right")) as client:
        assert client.get("/v1/queue")["num_pending_examples"] == 2
    with Client(address(server.url, key="hf-wrong")) as client, pytest.raises(AuthenticationRequired):
        client.get("/v1/queue")


def test_the_homes_own_key_is_tried_when_its_server_asks_for_one(served: Path, server: FakeServer) -> None:
    server.state.key = "hf-own"
    with Client(Address(None, None, served, "test")) as client:
        assert client.get("/v1/queue")["num_pending_examples"] == 2
    with Client(address(server.url)) as client, pytest.raises(AuthenticationRequired):
        client.get("/v1/queue")


@pytest.mark.parametrize(
    ("names", "path"),
    [
        (("run_1", "events"), "/v1/runs/run_1/events"),
        (("a b?c=d#e%2F",), "/v1/runs/a%20b%3Fc%3Dd%23e%252F"),
        (("ä\n",), "/v1/runs/%C3%A4%0A"),
        (("...",), "/v1/runs/..."),
    ],
)
def test_a_name_is_one_segment_of_a_path(names: tuple[str, ...], path: str) -> None:
    assert path_of("/v1/runs", *names) == path


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../x", "\udcff"])
def test_a_name_that_no_quoting_keeps_in_its_place_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequest):
        path_of("/v1/runs", name)


def test_text_that_is_not_utf8_is_an_error_that_says_so(server: FakeServer) -> None:
    with Client(address(server.url)) as client, pytest.raises(InvalidRequest, match="UTF-8"):
        client.post("/v1/corrections", {"prompt": "\udcff", "answer": "x"})


def test_something_else_that_answers_is_named_as_such() -> None:
    def page(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, text="<html>")

    def failing(request: httpx.Request) -> httpx.Response:
        return httpx.Response(502, text="Bad gateway")

    with (
        Client(address("http://h"), transport=httpx.MockTransport(page)) as client,
        pytest.raises(UnknownServerError, match="not JSON"),
    ):
        client.get("/health")
    with (
        Client(address("http://h"), transport=httpx.MockTransport(failing)) as client,
        pytest.raises(UnknownServerError, match="502"),
    ):
        client.get("/health")


def test_an_error_of_a_newer_server_keeps_its_words_and_its_code() -> None:
    def newer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(
            418, json={"error": {"code": "teapot", "message": "I am one.", "details": {"a": 1}}}
        )

    with (
        Client(address("http://h"), transport=httpx.MockTransport(newer)) as client,
        pytest.raises(UnknownServerError, match="I am one") as caught,
    ):
        client.get("/health")
    assert caught.value.details == {"a": 1, "code": "teapot", "status": 418}
