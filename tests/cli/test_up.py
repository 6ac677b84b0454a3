"""`homefire up` on a home that is served already, and the real server's proof that a home is its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from homefire.cli.address import Address, read_server_file, running_server
from homefire.cli.client import Client
from homefire.errors import ServerUnreachable
from tests.cli.conftest import Command
from tests.cli.fake_server import FakeServer
from tests.support.server import LiveServer
from tests.support.server import running_server as live_server


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """One real server for the tests of this file."""
    root = tmp_path_factory.mktemp("up") / "home"
    (root / "run").mkdir(parents=True)
    (root / "run" / "server.json").write_text('{"url": "http://127.0.0.1:9", "pid": 1, "token": "old"}')
    environ = {"HOMEFIRE_URL": "", "HOMEFIRE_API_KEY": "hf-" + "k" * 40}
    with live_server(root, environ=environ, settings={"server.loopback_without_key": "false"}) as server:
        yield server


def homefire(home: Path, *arguments: str, key: str | None = None) -> Any:
    """A command line in a process of its own: exit code and document."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("HOMEFIRE_")}
    if key is not None:
        environ["HOMEFIRE_API_KEY"] = key
    return subprocess.run(
        [sys.executable, "-m", "homefire", "--home", str(home), *arguments],
        env=environ, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("options", [(), ("--port", "1"), ("--host", "0.0.0.0")])
def test_a_second_up_says_where_the_first_one_is(live: LiveServer, options: tuple[str, ...]) -> None:
    done = homefire(live.home, "up", *options)
    assert (done.returncode, done.stdout) == (
        0, f"Homefire runs already: {live.url} (process {live.process.pid}).\n"
    ), done.stderr  # fmt: skip
    assert ("change nothing" in done.stderr) == bool(options)
    document = json.loads(homefire(live.home, "up", "--json").stdout)
    assert (document["url"], document["already_running"]) == (live.url, True)


def test_a_real_server_proves_its_home_and_takes_commands_through_a_symlink(
    live: LiveServer, tmp_path: Path
) -> None:
    link = tmp_path / "link"
    link.symlink_to(live.home)
    done = homefire(link, "status", "--json", key="hf-" + "k" * 40)
    assert done.returncode == 0, done.stdout
    assert json.loads(done.stdout)["pid"] == live.process.pid
    assert homefire(link, "status").returncode == 6, "another home's key is not at hand"


def test_a_real_server_is_not_taken_for_another_homes(live: LiveServer, home: Path, served: Path) -> None:
    written = read_server_file(served)
    assert written is not None
    (served / "run" / "server.json").write_text(
        json.dumps({"url": live.url, "pid": written.pid, "token": written.token})
    )
    with (
        Client(Address(None, "hf-given", served, "test")) as client,
        pytest.raises(ServerUnreachable, match="is not the server"),
    ):
        client.get("/v1/status")


def test_health_tells_a_stranger_nothing_about_the_home(live: LiveServer) -> None:
    assert live.get("/health") == {"state": "ok", "store": "ok"}
    answer = live.get("/health?challenge=abc")
    assert set(answer) == {"state", "store", "proof"}
    assert len(answer["proof"]) == 64
    assert answer["proof"] != live.get("/health?challenge=abd")["proof"]
    token = json.loads((live.home / "run" / "server.json").read_text())["token"]
    assert token not in json.dumps(answer)
    assert (live.home / "run" / "server.json").stat().st_mode & 0o077 == 0


def test_a_killed_servers_home_has_no_server(tmp_path: Path) -> None:
    root = tmp_path / "home"
    with live_server(root) as server:
        assert running_server(root) is not None
        server.process.send_signal(signal.SIGKILL)
        server.process.wait()
        assert (root / "run" / "server.json").exists()
        assert running_server(root) is None
        done = homefire(root, "versions", "rollback")
        assert (done.returncode, "No server is running" in done.stderr) == (13, True)


def test_a_home_that_another_program_holds_is_an_error_that_names_it(
    offline: Command, served: Path, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from homefire.cli import up

    monkeypatch.setattr(up, "START_TIMEOUT_S", 0.0)
    server.state.token = "not this home's"
    monkeypatch.setenv("HOMEFIRE_API_KEY", "hf-" + "k" * 40)
    result = offline("up", "--port", "0")
    assert result.code == 11
    assert f"process {os.getpid()}" in result.err
