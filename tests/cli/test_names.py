"""Names on the command line: one segment of a path each, beginnings of ids, and `live`."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec
import pytest
from typer.main import get_command

from homefire.cli.main import build
from homefire.training.progress import Progress
from tests.cli.conftest import Command
from tests.cli.fake_server import RUN, SESSION, FakeServer, run_view

NAMED: dict[str, tuple[str, str]] = {
    "models show NAME": ("/v1/homefire/models", ""),
    "models check NAME": ("/v1/homefire/models/", "/check"),
    "models remove NAME --yes": ("/v1/homefire/models/", ""),
    "models verify NAME": ("/v1/homefire/models/", ""),
    "versions show NAME": ("/v1/versions/", ""),
    "versions compare NAME v001": ("/v1/versions/compare", ""),
    "versions compare v001 NAME": ("/v1/versions/compare", ""),
    "versions promote NAME": ("/v1/versions/", "/promote"),
    "versions rollback --to NAME": ("/v1/versions/rollback", ""),
    "versions verify NAME": ("/v1/versions/", "/verify"),
    "versions delete NAME --yes": ("/v1/versions/", ""),
    "runs show NAME": ("/v1/runs", ""),
    "runs watch NAME": ("/v1/runs", ""),
    "runs pause NAME": ("/v1/runs", "/pause"),
    "runs resume NAME": ("/v1/runs", "/resume"),
    "runs stop NAME": ("/v1/runs", "/stop"),
    "runs skip NAME": ("/v1/runs", "/skip"),
    "runs retry NAME": ("/v1/runs", "/retry"),
    "sessions show NAME": ("/v1/sessions", ""),
    "sessions export NAME": ("/v1/sessions", ""),
    "ask Hi --model NAME": ("/v1/chat", ""),
    "ask Hi --session NAME": ("/v1/sessions", "/v1/chat"),
    "chat --model NAME": ("/v1/route", ""),
    "chat --session NAME": ("/v1/sessions", "/v1/route"),
    "correct --turn NAME That.": ("/v1/feedback", ""),
}
"""A command with a name in it, and below which addresses the server may hear of it."""
HOSTILE = [
    "../../versions/v001", "..", ".", "v001/verify", "session_1/export", f"{RUN}/stop", "compare", "a?force=true",
    "a#b", "%2e%2e%2fversions%2fv001", "..%2f..", "a b", "ä", "\\..\\x", "a;b", "*", "",
]  # fmt: skip


@pytest.mark.parametrize("line", NAMED)
def test_a_name_never_becomes_another_address(homefire: Command, server: FakeServer, line: str) -> None:
    """What arrives is read as the real server reads it: decoded before routes are looked at."""
    allowed = [place for place in NAMED[line] if place.startswith("/v1")]
    for name in HOSTILE:
        server.state.requests.clear()
        homefire(*(name if word == "NAME" else word for word in line.split()))
        for method, target, body in server.state.requests:
            path, query = urlsplit(target).path, urlsplit(target).query
            assert any(path == place or path.startswith(place) for place in allowed), target
            decoded = [unquote(part) for part in path.split("/")]
            assert not any("/" in part or part in (".", "..") for part in decoded), target
            assert query.partition("=")[0] in ("", "model", "limit", "a", "format"), target
            if method == "DELETE":
                assert decoded[1:] == [*NAMED[line][0].strip("/").split("/"), name]
                assert body is None


def test_every_command_that_takes_a_name_is_tried() -> None:
    """A new command with a MODEL, VERSION, RUN or SESSION belongs into the table above."""
    takers = set()
    groups: Any = get_command(build())
    for path, command in _leaves(groups, ()):
        for parameter in command.params:
            if str(parameter.metavar or "").strip("[]") in ("MODEL", "VERSION", "RUN", "SESSION"):
                takers.add(" ".join(path))
    assert takers <= {line.partition(" NAME")[0] for line in NAMED}
    assert len(takers) >= 14


def _leaves(command: Any, path: tuple[str, ...]) -> list[tuple[tuple[str, ...], Any]]:
    children = getattr(command, "commands", None)
    if not children:
        return [(path, command)]
    return [found for name, child in children.items() for found in _leaves(child, (*path, name))]


RUN_A, RUN_B = "run_0199aa00000100000000000000aa", "run_0199aa00000200000000000000bb"


@pytest.mark.parametrize("given", ["run_0199aa000002", "0199aa000002", RUN_B])
def test_the_beginning_of_an_id_names_the_only_run_that_begins_so(
    homefire: Command, server: FakeServer, given: str
) -> None:
    server.state.runs = [run_view(run_id=RUN_A), run_view(run_id=RUN_B)]
    homefire("runs", "stop", given)
    assert server.state.sent("POST", f"/v1/runs/{RUN_B}/stop") == [{}]


def test_the_beginning_of_several_ids_is_refused_and_they_are_named(
    homefire: Command, server: FakeServer
) -> None:
    server.state.runs = [run_view(run_id=RUN_A), run_view(run_id=RUN_B)]
    result = homefire("runs", "stop", "run_0199")
    assert result.code == 2
    assert RUN_A in result.err
    assert RUN_B in result.err
    assert [request for request in server.state.requests if request[0] == "POST"] == []


def test_sessions_are_named_by_their_beginning_too(homefire: Command, server: FakeServer) -> None:
    server.state.sessions = [msgspec.structs.replace(SESSION, session_id="session_1")]
    assert homefire("sessions", "show", "sess").code == 0
    homefire("ask", "Hi", "--session", "1")
    assert server.state.sent("POST", "/v1/chat")[0]["session_id"] == "session_1"


def test_a_whole_id_is_not_looked_up(homefire: Command, server: FakeServer) -> None:
    homefire("runs", "pause", RUN)
    assert [path for _, path, _ in server.state.requests] == [f"/v1/runs/{RUN}/pause"]


@pytest.mark.parametrize(
    ("arguments", "request_made"),
    [
        (("versions", "show", "live"), ("GET", "/v1/versions/v001")),
        (("versions", "verify", "live"), ("POST", "/v1/versions/v001/verify")),
        (("versions", "compare", "live", "v002"), ("GET", "/v1/versions/compare?a=v001&b=v002")),
        (("versions", "delete", "live", "--yes"), ("DELETE", "/v1/versions/v001")),
        (("versions", "promote", "live"), ("POST", "/v1/versions/v001/promote")),
        (("models", "verify", "live"), ("POST", "/v1/homefire/models/live/verify")),
        (("models", "show", "live"), ("GET", "/v1/homefire/models/live")),
    ],
)
def test_live_means_the_version_that_answers(
    homefire: Command, server: FakeServer, arguments: tuple[str, ...], request_made: tuple[str, str]
) -> None:
    homefire(*arguments)
    assert request_made in [(method, path) for method, path, _ in server.state.requests]


def test_a_rollback_to_live_names_the_version(homefire: Command, server: FakeServer) -> None:
    homefire("versions", "rollback", "--to", "live")
    assert server.state.sent("POST", "/v1/versions/rollback") == [{"to": "v001"}]


def test_live_may_be_a_base_which_is_not_a_version(homefire: Command, server: FakeServer) -> None:
    server.state.live = "ember"
    result = homefire("versions", "verify", "live")
    assert result.code == 4
    assert "homefire models verify ember" in result.err
    homefire("versions", "compare", "live", "v001")
    assert server.state.requests[-1][1] == "/v1/versions/compare?a=ember&b=v001"


def test_watching_without_a_name_follows_what_trains_now(homefire: Command, server: FakeServer) -> None:
    result = homefire("runs", "watch")
    assert result.code == 4
    assert "homefire runs list" in result.err
    server.state.open_runs = [run_view("running")]
    server.state.progress = [Progress(run_id=RUN, state="done", phase="done", version="v001", promoted=True)]
    assert homefire("runs", "watch").code == 0


def test_an_export_of_a_beginning_is_of_the_whole_session(homefire: Command, tmp_path: Path) -> None:
    assert homefire("sessions", "export", "ses", str(tmp_path / "talk.md")).code == 0
    assert (tmp_path / "talk.md").read_text() == "# Hello\n"
