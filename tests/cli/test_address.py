from __future__ import annotations

import json
from pathlib import Path

import pytest

from homefire.cli.address import find_server, home_root, read_server_file, url_of
from homefire.errors import ConfigError


def written(home: Path, url: str) -> None:
    (home / "run").mkdir(parents=True)
    (home / "run" / "server.json").write_text(json.dumps({"url": url, "pid": 1}))


def test_the_option_wins_over_environment_running_server_and_settings(tmp_path: Path) -> None:
    written(tmp_path, "http://127.0.0.1:3")
    environ = {"HOMEFIRE_URL": "http://127.0.0.1:2"}
    assert find_server(home=tmp_path, url="http://h:1/", environ=environ).url == "http://h:1"
    assert find_server(home=tmp_path, environ=environ).url == "http://127.0.0.1:2"
    assert find_server(home=tmp_path, environ={}).url == "http://127.0.0.1:3"


def test_without_a_running_server_the_settings_say_where_it_would_be(tmp_path: Path) -> None:
    (tmp_path / "homefire.toml").write_text("[server]\nport = 9999\n")
    address = find_server(home=tmp_path, environ={})
    assert address.url == "http://127.0.0.1:9999"
    assert address.home == tmp_path


def test_a_homes_own_key_is_never_sent_to_a_foreign_server(tmp_path: Path) -> None:
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / "api_key").write_text("hf-own\n")
    assert find_server(home=tmp_path, environ={}).own_key() == "hf-own"
    foreign = find_server(home=tmp_path, url="https://elsewhere.example", environ={})
    assert foreign.key is None
    assert foreign.own_key() is None


def test_a_server_file_that_says_nothing_sensible_is_ignored(tmp_path: Path) -> None:
    written(tmp_path, "javascript:alert(1)")
    assert read_server_file(tmp_path) is None
    (tmp_path / "run" / "server.json").write_text("not json")
    assert read_server_file(tmp_path) is None


def test_a_url_without_a_scheme_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not a URL"):
        find_server(home=tmp_path, url="localhost:8765", environ={})


@pytest.mark.parametrize(
    ("host", "url"),
    [("0.0.0.0", "http://127.0.0.1:1"), ("::", "http://[::1]:1"), ("192.168.1.2", "http://192.168.1.2:1")],
)
def test_a_wildcard_address_is_reached_on_loopback(host: str, url: str) -> None:
    assert url_of(host, 1) == url


def test_the_home_is_named_by_the_environment_or_lies_in_the_users_folder(tmp_path: Path) -> None:
    assert home_root(None, {"HOMEFIRE_HOME": str(tmp_path)}) == tmp_path
    assert home_root(None, {}) == home_root(None, {"HOMEFIRE_HOME": ""}) == Path("~/.homefire").expanduser()
    assert home_root(None, {"HOMEFIRE_HOME": "relative"}).is_absolute()
