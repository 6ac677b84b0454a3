"""Redaction of secrets: canary values go into a real server, and everything that comes out is searched.

The key has characters that JSON, Python and URLs write differently. What is searched: answers of all dialects
to requests that carry the key where it does not belong, the log, the home's files with the database and its
write-ahead log, the environment of every child process, and what the command line prints.
"""

from __future__ import annotations

import contextlib
import html
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
import pytest

from tests.support.server import LiveServer, running_server

KEY = 'canaryK3Y-"quoted"\\odd+/&<7>'
WRONG_KEY = "hf-canaryWRONGkey0000000000000000000000000000000000"
OTHER_VALUES = {"OPENAI_API_KEY": "canary-openai-000000", "AWS_SECRET_ACCESS_KEY": "canary-aws-000000"}
ENVIRON = {"HOMEFIRE_API_KEY": KEY, **OTHER_VALUES}
WITHOUT_REDACTION = """
from homefire.config.redaction import Redactor
Redactor.redact = lambda self, text: text
from homefire.cli.main import main
main()
"""


def forms_of(secret: str) -> set[str]:
    """How the secret may be written."""
    forms = {secret, json.dumps(secret)[1:-1], repr(secret)[1:-1], quote(secret), quote(secret, safe="")}
    forms |= {html.escape(secret), html.escape(secret, quote=False)}
    return forms | {form.lower() for form in forms}


CANARIES = {form.encode() for secret in (KEY, WRONG_KEY, *OTHER_VALUES.values()) for form in forms_of(secret)}


@dataclass
class Seen:
    """Everything that came out, by where it came from."""

    server: LiveServer
    texts: dict[str, bytes] = field(default_factory=dict)

    def ask(
        self, path: str, body: Any = None, *, headers: dict[str, str] | None = None, raw: bytes | None = None
    ) -> bytes:
        """Send a request and keep the whole answer, headers included."""
        data = raw if raw is not None else None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self.server.url + path, data, {"content-type": "application/json", **(headers or {})}
        )
        try:
            answer = urllib.request.urlopen(request, timeout=60)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            text = bytes(answer.headers) + answer.read()
        self.texts[f"{len(self.texts)} {path} {answer.status}"] = text
        return text.partition(b"\n\n")[2]

    def leaks(self) -> dict[str, list[bytes]]:
        found = {
            where: [canary for canary in CANARIES if canary in text] for where, text in self.texts.items()
        }
        return {where: canaries for where, canaries in found.items() if canaries}


def provoke(seen: Seen) -> None:
    """Say the key wherever it does not belong."""
    message = [{"role": "user", "content": "Who are you?"}]
    quoted = quote(KEY, safe="")
    for headers in ({"authorization": f"Bearer {WRONG_KEY}"}, {"x-api-key": WRONG_KEY}):
        seen.ask("/v1/chat", {"message": "Hi"}, headers=headers)
    seen.ask("/v1/chat", {"message": "Hi"}, headers={"authorization": f"Basic {KEY}"})
    seen.ask("/v1/chat", {"message": "Who are you?"}, headers={"authorization": f"Bearer {KEY}"})
    for path in ("/v1/chat/completions", "/api/chat", "/v1/messages", "/v1/chat"):
        seen.ask(path, {"model": KEY, "messages": message, "max_tokens": 5})
        seen.ask(path, {"messages": KEY, "model": "default"})
        seen.ask(path, {KEY: KEY, "messages": message, "model": "default", "max_tokens": 5})
        seen.ask(path, {"messages": [{"role": KEY, "content": "Hi"}], "model": "default", "max_tokens": 5})
        seen.ask(path, raw=f'{{"messages": "{KEY}'.encode())
    seen.ask("/v1/homefire/models", {"path": f"/nowhere/{KEY}", "name": KEY})
    seen.ask("/v1/homefire/models", {"path": "/nowhere", "name": KEY})
    seen.ask("/v1/feedback", {"turn_id": KEY, "verdict": KEY})
    seen.ask("/v1/feedback", {"turn_id": KEY, "verdict": "good"})
    for path in (
        "/v1/runs/{}",
        "/v1/versions/{}",
        "/v1/sessions/{}",
        "/v1/route?model={}",
        "/{}",
        "/v1/models/{}",
    ):
        seen.ask(path.format(quoted))
    seen.ask("/health", headers={"host": f"{quoted}.example"})
    seen.ask("/v1/chat", {"message": "Hi"}, headers={"origin": f"http://{quoted}"})
    for path in (
        "/health",
        "/info",
        "/v1/config",
        "/v1/status",
        "/openapi.json",
        "/metrics",
        "/v1/queue",
        "/",
    ):
        seen.ask(path, headers={"accept": "text/html" if path == "/" else "*/*"})


def crash_the_engine(seen: Seen) -> None:
    """End the worker that serves, by its process id; the next request is served by another."""
    (resident,) = [each for each in seen.server.get("/v1/status")["resident"] if each["state"] == "ready"]
    os.kill(resident["pid"], signal.SIGKILL)
    deadline = time.monotonic() + 20
    while b'"text"' not in seen.ask("/v1/chat", {"message": "Who are you?"}):
        assert time.monotonic() < deadline


def children(server: LiveServer) -> list[psutil.Process]:
    """The processes that the server started and that run their own program by now."""
    own = server.process.args
    with contextlib.suppress(psutil.NoSuchProcess):
        found = psutil.Process(server.process.pid).children(recursive=True)
        return [child for child in found if child.cmdline() != own]
    return []


def look_at_processes(seen: Seen) -> None:
    """The environment and arguments of every process that the server started."""
    for child in children(seen.server):
        with contextlib.suppress(psutil.NoSuchProcess):
            environ = {name: value for name, value in child.environ().items() if name not in OTHER_VALUES}
            seen.texts[f"process {' '.join(child.cmdline())}"] = repr((environ, child.cmdline())).encode()


def begin_a_run(seen: Seen) -> None:
    """A correction, until a trainer works on it."""
    seen.ask("/v1/corrections", {"prompt": "Where is the key?", "answer": "Under the pot."})
    deadline = time.monotonic() + 30
    while not any("homefire.trainer.worker" in child.cmdline() for child in children(seen.server)):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def command_line(home: Path, *arguments: str) -> bytes:
    environ = {**os.environ, **ENVIRON, "HOMEFIRE_HOME": str(home)}
    done = subprocess.run(
        [sys.executable, "-m", "homefire", *arguments], env=environ, capture_output=True, timeout=60
    )
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """Everything that a whole life of a server let out."""
    home = tmp_path_factory.mktemp("canary") / "home"
    with running_server(home, environ=ENVIRON, settings={"training.quiet_s": "0"}) as server:
        seen = Seen(server)
        provoke(seen)
        crash_the_engine(seen)
        begin_a_run(seen)
        look_at_processes(seen)
        seen.texts["homefire status"] = command_line(home, "status", "--json")
        for path in home.rglob("*"):
            if path.is_file() and not path.is_symlink():
                seen.texts[f"file {path.relative_to(home)}"] = path.read_bytes()
    seen.texts["config"] = command_line(home, "config", "show", "--origin", "--json")
    seen.texts["doctor"] = command_line(home, "doctor", "--json")
    seen.texts["log"] = server.log.read_bytes()
    return seen


def test_a_canary_is_found_nowhere(seen: Seen) -> None:
    assert seen.leaks() == {}


def test_what_was_searched_is_what_matters(seen: Seen) -> None:
    places = " ".join(seen.texts)
    for part in (
        "homefire.db",
        "homefire.db-wal",
        "worker.log",
        "spec.json",
        "homefire.engines.worker",
        "log",
    ):
        assert part in places
    statuses = {where.rpartition(" ")[2] for where in seen.texts if "/v1/" in where}
    assert {"200", "400", "401", "403", "404"} <= statuses
    assert b"ended with signal SIGKILL" in seen.texts["log"]


def test_without_redaction_the_key_would_be_found(tmp_path: Path) -> None:
    """The planted bug."""
    program = (sys.executable, "-c", WITHOUT_REDACTION)
    with running_server(tmp_path / "home", environ=ENVIRON, program=program) as server:
        seen = Seen(server)
        provoke(seen)
    assert len(seen.leaks()) > 3


def test_a_key_in_the_settings_file_is_refused_without_being_printed(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "homefire.toml").write_text(f"[server]\napi_key = {json.dumps(KEY)}\n")
    printed = command_line(home, "up", "--port", "0")
    assert b"is a secret" in printed
    assert not any(canary in printed for canary in CANARIES)
