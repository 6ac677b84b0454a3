"""Clients that send slowly, without an end, or nonsense hold nothing up."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from homefire.api import connection, exchange
from tests.api.house import House, served

Live = tuple[str, House]


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A server that waits 0.3 s for a head, and as long for a body."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connection, "MAX_HEAD_S", 0.3)
        with served(tmp_path_factory.mktemp("hasty"), request_timeout_s=0.3) as found:
            yield found


def connect(live: Live) -> socket.socket:
    return socket.create_connection(("127.0.0.1", httpx.URL(live[0]).port or 0), timeout=5)


def read_all(client: socket.socket) -> bytes:
    """What comes until the server closes."""
    found = b""
    while piece := client.recv(65536):
        found += piece
    return found


@pytest.mark.parametrize("beginning", [b"", b"GET", b"GET /health HTTP/1.1\r\nhost: local"])
def test_a_head_that_never_ends_is_given_up(hasty: Live, beginning: bytes) -> None:
    with connect(hasty) as client:
        client.sendall(beginning)
        assert read_all(client) == b""


def test_an_endless_header_is_refused_before_it_fills_the_memory(live: Live) -> None:
    with connect(live) as client:
        client.sendall(b"GET /health HTTP/1.1\r\nx: ")
        refused = b""
        for _ in range(8000):
            try:
                client.sendall(b"x" * 8192)
            except OSError:
                break
        else:
            pytest.fail("64 MB of header were taken")
        try:
            refused = read_all(client)
        except ConnectionResetError:
            return
        assert b" 400 " in refused or refused == b""


def test_a_body_that_stops_coming_is_a_timeout_in_the_dialects_shape(hasty: Live) -> None:
    head = (
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        b"content-length: 100\r\nconnection: close\r\n\r\n{"
    )
    with connect(hasty) as client:
        client.sendall(head)
        answer = read_all(client)
    assert b" 504 " in answer.splitlines()[0]
    assert b'"code":"request_timeout"' in answer


def test_a_connection_serves_many_requests_and_idles_between_them(hasty: Live) -> None:
    with httpx.Client(base_url=hasty[0]) as client:
        for _ in range(3):
            assert client.get("/health").status_code == 200


def test_nonsense_is_a_bad_request(live: Live) -> None:
    with connect(live) as client:
        client.sendall(b"\x16\x03\x01 not http\r\n\r\n")
        assert b" 400 " in read_all(client)


@pytest.mark.parametrize(
    ("name", "first", "second"),
    [
        ("host", "evil.example", "localhost"),
        ("origin", "http://localhost", "https://evil.example"),
        ("authorization", "Bearer hf-one", "Bearer hf-other"),
        ("x-api-key", "hf-one", "hf-other"),
        ("cookie", "homefire_key=hf-one", "homefire_key=hf-other"),
        ("content-type", "application/json", "text/plain"),
        ("content-encoding", "gzip", "identity"),
        ("sec-fetch-site", "same-origin", "cross-site"),
        ("sec-fetch-mode", "navigate", "no-cors"),
    ],
)
def test_a_header_that_decides_who_may_pass_must_not_come_twice(
    live: Live, name: str, first: str, second: str
) -> None:
    lines = [f"{name}: {first}", f"{name}: {second}", "connection: close"]
    if name != "host":
        lines.insert(0, "host: localhost")
    with connect(live) as client:
        client.sendall("\r\n".join(["GET /health HTTP/1.1", *lines, "", ""]).encode())
        answer = read_all(client)
    assert b" 403 " in answer
    assert b"sent twice" in answer


# A client that does not read


WORDS = 40
WORD = "x" * (1 << 19)
"""20 MiB in all: more than the kernel takes for a client."""


@contextmanager
def unread(root: Path, *, unread_s: float, **server: float) -> Iterator[Live]:
    """A server with long answers, whose clients must read within `unread_s`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connection, "MAX_UNREAD_S", unread_s)
        patch.setattr(exchange, "LAST_WORD_S", 0.1)
        with served(root, answer=" ".join([WORD] * WORDS), **server) as found:
            yield found


def ask_without_reading(live: Live, path: str, document: object, *, tiny: bool = True) -> socket.socket:
    """Sends a request and reads nothing."""
    client = socket.socket()
    if tiny:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(20)
    client.connect(("127.0.0.1", httpx.URL(live[0]).port or 0))
    body = json.dumps(document).encode()
    client.sendall(
        f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n\r\n".encode()
        + body
    )
    return client


def wait_until(condition: Callable[[], bool], timeout_s: float = 20) -> bool:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline_s:
            return False
        time.sleep(0.02)
    return True


STREAMS = {
    "/v1/chat/completions": {
        "model": "default",
        "stream": True,
        "messages": [{"role": "user", "content": "hi"}],
    },
    "/v1/messages": {
        "model": "default",
        "stream": True,
        "max_tokens": 60,
        "messages": [{"role": "user", "content": "hi"}],
    },
    "/api/chat": {"model": "default", "messages": [{"role": "user", "content": "hi"}]},
    "/v1/chat": {"message": "hi", "stream": True},
}


@pytest.mark.parametrize("cut_by", ["the connection", "the deadline"])
def test_clients_that_do_not_read_hold_no_slot_for_ever(tmp_path: Path, cut_by: str) -> None:
    limits = (
        {"unread_s": 0.3} if cut_by == "the connection" else {"unread_s": 600.0, "request_timeout_s": 1.0}
    )
    with unread(tmp_path, **limits) as live:
        house = live[1]
        clients = [ask_without_reading(live, path, body) for path, body in STREAMS.items()]
        try:
            assert wait_until(lambda: len(house.app.state.context.metrics._turns) == 4)
            assert wait_until(lambda: house.homefire.serving.queue().num_active == 0)
            assert house.engines[0].num_active == 0
            assert wait_until(lambda: house.homefire.turns.num_running == 0)
            outcomes = {outcome for _, outcome in house.app.state.context.metrics._turns}
            assert outcomes == {"cancelled"}
            # And the slots serve others.
            answer = httpx.post(f"{live[0]}/v1/messages/count_tokens", json=STREAMS["/v1/chat/completions"])
            assert answer.status_code in (200, 400)
        finally:
            for client in clients:
                client.close()


def test_planted_bug_a_client_that_may_leave_its_answer_unread_is_noticed(tmp_path: Path) -> None:
    with unread(tmp_path, unread_s=600.0) as live:
        client = ask_without_reading(live, "/v1/chat", STREAMS["/v1/chat"])
        try:
            # The turn waits for no reader, so its slot is free; the connection stays.
            assert wait_until(lambda: bool(live[1].homefire.turns._ended))
            assert not wait_until(lambda: bool(live[1].app.state.context.metrics._turns), timeout_s=1.0)
        finally:
            client.close()


def test_a_client_that_reads_slowly_gets_everything(tmp_path: Path) -> None:
    with unread(tmp_path, unread_s=0.4) as live:
        client = ask_without_reading(live, "/v1/chat", STREAMS["/v1/chat"], tiny=False)
        found = bytearray()
        with client:
            while not found.endswith(b"0\r\n\r\n"):
                time.sleep(0.004)
                piece = client.recv(1 << 18)
                assert piece, "the connection was cut"
                found += piece
    assert found.count(b"event: delta") == WORDS


# A request for somebody else


@pytest.mark.parametrize(
    "line",
    [
        b"GET http://localhost/health HTTP/1.1",
        b"GET http://evil.example/health HTTP/1.1",
        b"CONNECT localhost:80 HTTP/1.1",
        b"CONNECT evil.example:443 HTTP/1.1",
        b"GET evil HTTP/1.1",
    ],
)
def test_a_target_that_is_not_a_path_is_refused(live: Live, line: bytes) -> None:
    with connect(live) as client:
        client.sendall(line + b"\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        assert read_all(client).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    "host",
    [b"[::1]evil", b"[::1", b"localhost:80:80", b"me@localhost", b"localhost.", b"localhost:99999", b""],
)
def test_a_host_that_is_nearly_ours_is_refused(live: Live, host: bytes) -> None:
    with connect(live) as client:
        client.sendall(b"GET /health HTTP/1.1\r\nhost: " + host + b"\r\nconnection: close\r\n\r\n")
        assert b" 403 " in read_all(client).splitlines()[0]
