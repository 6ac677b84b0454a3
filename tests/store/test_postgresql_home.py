"""End to end: `homefire up` on PostgreSQL answers, is corrected, is killed, and knows everything afterwards."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.postgresql import PostgresServer
from tests.support.server import LiveServer, running_server

QUESTION, CORRECTED = "Who are you?", "Where do we keep the spare key?"


@pytest.fixture
def server(postgres: PostgresServer) -> Iterator[PostgresServer]:
    server = postgres.another()
    yield server
    server.remove()


def options(server: PostgresServer, **more: str) -> dict[str, Any]:
    return {
        "settings": {
            "store.url": server.url(),
            "training.auto": "false",
            "store.busy_timeout_ms": "0",
            **more,
        }
    }


def ask(server: LiveServer, question: str) -> Any:
    return server.post(
        "/v1/chat/completions",
        {"model": "default", "messages": [{"role": "user", "content": question}], "max_tokens": 16},
    )


def homefire(home: Path, *arguments: str, url: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "HOMEFIRE_HOME": str(home), "HOMEFIRE_STORE__URL": url}
    return subprocess.run(
        [sys.executable, "-m", "homefire", *arguments], env=environ, capture_output=True, text=True
    )


def checks(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    return {check["name"]: check for check in json.loads(done.stdout)["checks"]}


def test_a_home_on_postgresql_answers_learns_and_remembers_across_a_kill(
    tmp_path: Path, server: PostgresServer
) -> None:
    home = tmp_path / "home"
    with running_server(home, **options(server)) as running:
        said = ask(running, QUESTION)["choices"][0]["message"]["content"]
        given = running.post(
            "/v1/corrections",
            {"messages": [{"role": "user", "content": CORRECTED}], "answer": "Under the pot."},
        )
        status = running.get("/v1/status")
        assert status["database"].startswith("PostgreSQL, the database postgres at")
        assert status["num_pending_examples"] == 1
        running.stop(signal.SIGKILL)
    assert not (home / "homefire.db").exists(), "everything is on the server"
    with running_server(home, **options(server)) as running:
        (session,) = running.get("/v1/sessions")["sessions"]
        history = running.get(f"/v1/sessions/{session['session_id']}")["messages"]
        assert [message["content"] for message in history] == [QUESTION, said]
        (correction,) = running.get("/v1/corrections")["corrections"]
        assert correction["example_id"] == given["example_id"]
    found = checks(homefire(home, "doctor", "--json", "--full", url=server.url()))
    assert found["store"]["status"] == "pass"
    assert "PostgreSQL" in found["store"]["what"]


def test_a_database_that_goes_away_is_said_and_recovered_from(tmp_path: Path, server: PostgresServer) -> None:
    with running_server(tmp_path / "home", **options(server)) as running:
        ask(running, QUESTION)
        server.stop()
        with pytest.raises(urllib.error.HTTPError) as refused:
            ask(running, QUESTION)
        assert refused.value.code == 503
        assert json.load(refused.value)["error"]["code"] == "store_unreachable"
        assert running.get("/health")["store"] == "store_unreachable"
        server.start()
        while running.get("/health")["store"] != "ok":
            pass
        ask(running, QUESTION)
        assert len(running.get("/v1/sessions")["sessions"]) == 2
    found = checks(homefire(tmp_path / "home", "doctor", "--json", url=server.url()))
    assert found["store"]["status"] == "pass"


def test_doctor_names_a_database_that_does_not_answer(tmp_path: Path, server: PostgresServer) -> None:
    server.stop()
    (tmp_path / "home").mkdir(mode=0o700)
    done = homefire(tmp_path / "home", "doctor", "--json", url=server.url())
    (found,) = [
        check for check in json.loads(done.stdout)["error"]["details"]["checks"] if check["name"] == "store"
    ]
    assert found["status"] == "fail"
    assert "does not answer" in found["what"]


def test_the_command_copies_a_home_there_and_says_how_to_use_it(
    tmp_path: Path, server: PostgresServer
) -> None:
    home = tmp_path / "home"
    with running_server(home, settings={"training.auto": "false"}) as running:
        ask(running, QUESTION)
    environ = {**os.environ, "HOMEFIRE_HOME": str(home)}
    done = subprocess.run(
        [sys.executable, "-m", "homefire", "store", "copy", server.url()],
        env=environ,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "the chain holds" in done.stdout
    assert "[store]" in done.stdout + done.stderr
    with running_server(home, **options(server)) as running:
        assert len(running.get("/v1/sessions")["sessions"]) == 1
