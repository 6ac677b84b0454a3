from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from homefire.cli.main import run
from homefire.home import Home
from homefire.store.lock import HomeLock
from tests.cli.fake_server import FakeServer


@dataclass(frozen=True)
class Result:
    """What one command line did."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """Standard output as JSON."""
        return json.loads(self.out)


Command = Callable[..., Result]


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer() as running:
        yield running


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of the test's own; nothing of the machine's settings reaches it."""
    for name in ("HOMEFIRE_URL", "HOMEFIRE_API_KEY", "HOMEFIRE_HOME"):
        monkeypatch.delenv(name, raising=False)
    home = tmp_path / "home"
    monkeypatch.setenv("HOMEFIRE_HOME", str(home))
    return home


@pytest.fixture
def offline(home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs a command line in this process, with no server named."""

    def call(*arguments: str, stdin: str = "") -> Result:
        capsys.readouterr()
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        code = run(arguments)
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return call


@pytest.fixture
def served(home: Path, server: FakeServer) -> Iterator[Path]:
    """The home, served by the fake server: locked, with its address written down."""
    with serving(home, server) as root:
        yield root


@contextmanager
def serving(root: Path, server: FakeServer, *, token: str = "t0ken") -> Iterator[Path]:
    """A home that this process holds, and whose server the fake one is."""
    home = Home(root).create()
    lock = HomeLock(home)
    server.state.token = token
    write_address(root, server.url, token=token)
    (home.credentials / "api_key").write_text("hf-own\n")
    try:
        yield root
    finally:
        lock.release()


def write_address(root: Path, url: str, *, token: str = "t0ken", pid: int | None = None) -> None:
    """What a server that listens writes."""
    written = {"url": url, "pid": os.getpid() if pid is None else pid, "token": token}
    (root / "run" / "server.json").write_text(json.dumps(written))


@pytest.fixture
def homefire(offline: Command, server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs a command line in this process against the fake server."""
    monkeypatch.setenv("HOMEFIRE_URL", server.url)
    return offline
