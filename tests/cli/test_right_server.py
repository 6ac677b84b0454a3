"""No command reaches a server that is not the one it names, and no key is sent to a stranger."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from homefire.cli.address import Address, find_server
from homefire.cli.client import Client
from homefire.errors import ServerUnreachable
from tests.cli.conftest import Command, serving, write_address
from tests.cli.fake_server import RUN, FakeServer

MOVING = [
    ("versions", "rollback"),
    ("versions", "promote", "v002"),
    ("versions", "delete", "v002", "--yes"),
    ("models", "remove", "ember", "--yes"),
    ("models", "add", "/tmp/m"),
    ("correct", "What?", "That."),
    ("correct", "--last", "That."),
    ("runs", "start"),
    ("runs", "stop", RUN),
    ("ask", "A secret"),
    ("chat",),
    ("status",),
]


@pytest.fixture
def other() -> Iterator[FakeServer]:
    """The server of another home, which happens to listen where ours once did."""
    with FakeServer() as running:
        running.state.token = "another home's"
        yield running


@pytest.mark.parametrize("arguments", MOVING)
def test_nothing_reaches_the_server_of_another_home(
    offline: Command,
    home: Path,
    other: FakeServer,
    arguments: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The home's server is stopped, another's has its port, and the settings and HOMEFIRE_URL point there."""
    home.mkdir()
    (home / "homefire.toml").write_text(f"[server]\nport = {other.url.rpartition(':')[2]}\n")
    assert offline(*arguments).code == 13
    monkeypatch.setenv("HOMEFIRE_URL", other.url)
    assert offline("--home", str(home), *arguments).code == 13
    assert other.state.requests == []


@pytest.mark.parametrize("arguments", MOVING)
def test_a_stranger_at_the_homes_address_is_asked_for_its_proof_and_gets_nothing_else(
    offline: Command, served: Path, other: FakeServer, arguments: tuple[str, ...]
) -> None:
    """Everything on this machine fits, and yet another server answers (as through a forwarded port)."""
    write_address(served, other.url)
    other.state.key = "hf-any"
    result = offline(*arguments, "--json", "--key", "hf-given")
    assert result.code == 13
    assert "is not the server of the home" in result.document["error"]["message"]
    assert {(method, path.split("?")[0]) for method, path, _ in other.state.requests} == {("GET", "/health")}
    assert other.state.keys_seen == set()


def test_planted_bug_without_the_proof_a_stranger_gets_the_command(
    offline: Command, served: Path, other: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the tests above would see if the answer to the challenge were not looked at."""
    from homefire.cli import client

    monkeypatch.setattr(client.hmac, "compare_digest", lambda *_: True)
    write_address(served, other.url)
    other.state.key = "hf-own"
    assert offline("versions", "rollback").code == 0
    assert other.state.keys_seen == {"Bearer hf-own"}


def test_a_url_and_a_home_together_must_fit(offline: Command, served: Path, server: FakeServer) -> None:
    assert offline("--url", server.url, "--home", str(served), "status").code == 0
    with FakeServer() as other:
        other.state.token = "another home's"
        assert offline("--url", other.url, "--home", str(served), "status").code == 13
        assert offline("--url", other.url, "status").code == 0, "named alone, a URL is what it is"
        assert other.state.keys_seen == set()


def test_the_homes_own_server_gets_the_homes_own_key_when_it_asks(
    offline: Command, served: Path, server: FakeServer
) -> None:
    assert offline("versions", "rollback").code == 0
    assert server.state.keys_seen == set(), "it did not ask"
    server.state.key = "hf-own"
    assert offline("versions", "rollback").code == 0
    assert server.state.keys_seen == {"Bearer hf-own"}


def test_a_server_that_was_replaced_between_two_requests_gets_no_second_one(
    home: Path, server: FakeServer, other: FakeServer
) -> None:
    with Client(find_server(home=home, environ={"HOMEFIRE_API_KEY": "hf-given"})) as client:
        with serving(home, server):
            client.get("/v1/status")
        with pytest.raises(ServerUnreachable):
            client.get("/v1/status")
        with serving(home, other, token="new") as root:
            other.state.token = "not the home's"
            write_address(root, other.url, token="new")
            with pytest.raises(ServerUnreachable, match="not the server"):
                client.get("/v1/status")
    assert other.state.keys_seen == set()


class _Breaking(httpx.HTTPTransport):
    """Loses its connections while `is_broken`."""

    is_broken = False

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if self.is_broken:
            raise httpx.ReadError("The connection broke.")
        return super().handle_request(request)


def test_after_a_broken_connection_a_server_is_asked_for_its_proof_again(
    home: Path, server: FakeServer
) -> None:
    transport = _Breaking()
    with serving(home, server), Client(find_server(home=home, environ={}), transport=transport) as client:
        client.get("/v1/queue")
        transport.is_broken = True
        with pytest.raises(ServerUnreachable):
            client.get("/v1/queue")
        transport.is_broken = False
        server.state.token = "another home's"
        with pytest.raises(ServerUnreachable, match="not the server"):
            client.get("/v1/queue")


def test_a_server_that_restarted_elsewhere_is_found_again(home: Path, server: FakeServer) -> None:
    with Client(find_server(home=home, environ={})) as client, FakeServer() as second:
        with serving(home, server):
            assert client.get("/v1/queue")["num_pending_examples"] == 2
        with serving(home, second, token="second"):
            assert client.get("/v1/queue")["num_pending_examples"] == 2
            assert client.url == second.url


class _Proxy(BaseHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Silence."""

    def do_GET(self) -> None:
        self.server.seen.append((self.path, dict(self.headers)))  # type: ignore[attr-defined]
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"proxied": True}).encode())


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """An HTTP proxy that the environment names; what it was sent."""
    listener = HTTPServer(("127.0.0.1", 0), _Proxy)
    listener.seen = seen = []  # type: ignore[attr-defined]
    thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{listener.server_port}")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    yield seen
    listener.shutdown()
    thread.join()
    listener.server_close()


def test_what_stays_on_this_machine_goes_through_no_proxy(
    offline: Command, served: Path, server: FakeServer, proxy: list[Any]
) -> None:
    assert offline("status").code == 0
    port = server.url.rpartition(":")[2]
    for url in (server.url, f"http://localhost:{port}", f"http://0.0.0.0:{port}"):
        assert offline("status", "--url", url, "--key", "hf-given").code == 0
    assert proxy == []


def test_other_machines_are_reached_through_the_proxy(proxy: list[Any]) -> None:
    with Client(Address("http://elsewhere.example", None, None, "test")) as client:
        assert client.get("/v1/status") == {"proxied": True}
    assert [path for path, _ in proxy] == ["http://elsewhere.example/v1/status"]
