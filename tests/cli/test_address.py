from __future__ import annotations

import os
from pathlib import Path

import pytest

from homefire.cli.address import find_server, home_root, is_loopback, read_server_file, running_server
from homefire.errors import ConfigError, ServerUnreachable
from homefire.home import Home
from homefire.store.lock import HomeLock
from tests.cli.conftest import serving, write_address
from tests.cli.fake_server import FakeServer

NO_PROCESS = 2**22 + 1
"""No process has this id: Linux gives none above 2**22."""


def test_an_option_outranks_the_environment_and_a_url_outranks_a_home_there(tmp_path: Path) -> None:
    environ = {"HOMEFIRE_URL": "http://127.0.0.1:2", "HOMEFIRE_HOME": str(tmp_path / "other")}
    both = find_server(home=tmp_path, url="http://h:1/", environ=environ)
    assert (both.url, both.home) == ("http://h:1", tmp_path)
    named = find_server(home=tmp_path, environ=environ)
    assert (named.url, named.home) == (None, tmp_path)
    exported = find_server(environ=environ)
    assert (exported.url, exported.home) == ("http://127.0.0.1:2", None)
    assert find_server(environ={"HOMEFIRE_HOME": str(tmp_path)}).home == tmp_path


def test_a_home_whose_server_is_stopped_has_no_address(tmp_path: Path) -> None:
    (tmp_path / "homefire.toml").write_text("[server]\nport = 9999\n")
    with pytest.raises(ServerUnreachable, match="No server is running for the home"):
        find_server(home=tmp_path, environ={}).locate()


def test_the_server_of_a_home_is_alive_holds_its_lock_and_wrote_the_address(
    tmp_path: Path, server: FakeServer
) -> None:
    with serving(tmp_path, server):
        running = running_server(tmp_path)
        assert running is not None
        assert (running.url, running.pid) == (server.url, os.getpid())
        write_address(tmp_path, server.url, pid=NO_PROCESS)
        assert running_server(tmp_path) is None, "its process has ended"
        write_address(tmp_path, server.url, pid=os.getppid())
        assert running_server(tmp_path) is None, "its process id is another program's by now"
        write_address(tmp_path, server.url)
        assert running_server(tmp_path) is not None
    assert running_server(tmp_path) is None, "nobody holds the lock"


def test_a_lock_file_that_was_left_behind_is_not_a_lock(tmp_path: Path, server: FakeServer) -> None:
    home = Home(tmp_path).create()
    home.lock_file.write_text(f"{os.getpid()}\n")
    write_address(tmp_path, server.url)
    assert running_server(tmp_path) is None


def test_looking_for_a_server_never_takes_the_lock_of_one_that_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from homefire.store import lock

    def refuse(home: Home) -> int | None:
        raise AssertionError("the lock was tried")

    monkeypatch.setattr(lock, "lock_holder", refuse)
    home = Home(tmp_path).create()
    assert running_server(tmp_path) is None
    write_address(tmp_path, "http://127.0.0.1:1", pid=NO_PROCESS)
    assert running_server(tmp_path) is None
    write_address(tmp_path, "http://127.0.0.1:1")
    held = HomeLock(home)
    held.release()
    assert running_server(tmp_path) is None


def test_a_symlink_to_a_home_means_that_home(tmp_path: Path, server: FakeServer) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "real")
    with serving(tmp_path / "real", server):
        assert find_server(home=link, environ={}).locate()[0] == server.url


def test_a_homes_own_key_is_never_sent_to_a_foreign_server(tmp_path: Path) -> None:
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / "api_key").write_text("hf-own\n")
    assert find_server(home=tmp_path, environ={}).own_key() == "hf-own"
    foreign = find_server(url="https://elsewhere.example", environ={"HOMEFIRE_HOME": str(tmp_path)})
    assert foreign.key is None
    assert foreign.own_key() is None


@pytest.mark.parametrize(
    "text",
    [
        "not json",
        "[]",
        '{"url": "http://127.0.0.1:1", "pid": 1}',
        '{"url": "http://127.0.0.1:1", "pid": "x", "token": "t"}',
        '{"url": "http://127.0.0.1:1", "pid": 1, "token": ""}',
        '{"url": "javascript:alert(1)", "pid": 1, "token": "t"}',
        '{"url": "http://[", "pid": 1, "token": "t"}',
    ],
)
def test_a_server_file_that_says_nothing_sensible_is_ignored(tmp_path: Path, text: str) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "server.json").write_text(text)
    assert read_server_file(tmp_path) is None


@pytest.mark.parametrize("url", ["localhost:8765", "http://", "http://[", "file:///etc/passwd"])
def test_what_is_not_a_url_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigError, match="not a URL"):
        find_server(url=url, environ={})


@pytest.mark.parametrize(
    ("url", "is_local"),
    [
        ("http://127.0.0.1:1", True),
        ("http://127.9.9.9", True),
        ("http://LOCALHOST:8765", True),
        ("http://me.localhost", True),
        ("http://[::1]:1", True),
        ("http://0.0.0.0:1", True),
        ("http://192.168.1.2", False),
        ("https://localhost.example.com", False),
        ("https://127.0.0.1.example.com", False),
    ],
)
def test_loopback_is_told_from_other_machines(url: str, is_local: bool) -> None:
    assert is_loopback(url) is is_local


def test_the_home_is_named_by_the_environment_or_lies_in_the_users_folder(tmp_path: Path) -> None:
    assert home_root(None, {"HOMEFIRE_HOME": str(tmp_path)}) == tmp_path
    assert home_root(None, {}) == home_root(None, {"HOMEFIRE_HOME": ""}) == Path("~/.homefire").expanduser()
    assert home_root(None, {"HOMEFIRE_HOME": "relative"}).is_absolute()
