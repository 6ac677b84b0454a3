"""Clients that send slowly, without an end, or nonsense hold nothing up."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import httpx
import pytest

from homefire.api import connection
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


def test_a_header_that_decides_who_may_pass_must_not_come_twice(live: Live) -> None:
    with connect(live) as client:
        client.sendall(
            b"GET /health HTTP/1.1\r\nhost: evil.example\r\nhost: localhost\r\nconnection: close\r\n\r\n"
        )
        assert b" 403 " in read_all(client)
