from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from homefire.cli.main import run
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
def homefire(offline: Command, server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs a command line in this process against the fake server."""
    monkeypatch.setenv("HOMEFIRE_URL", server.url)
    return offline
