"""Putting the parts together: what is wrong is said at the start, not at the first request."""

from __future__ import annotations

from pathlib import Path

import pytest

from homefire.app import Homefire, build
from homefire.config.loader import load_settings
from homefire.config.secrets import API_KEY_VARIABLE
from homefire.errors import ConfigError
from homefire.home import Home
from homefire.store.nouns.keys import KeyRevoked

KEY = "a-key-of-this-house"


def built(home: Home, **overrides: str) -> Homefire:
    return build(load_settings(home, overrides=overrides, environ={}), home)


def revoke_all(homefire: Homefire) -> None:
    homefire.store.append_sync(*(KeyRevoked(key_id=row.key_id) for row in homefire.store.keys.list()))
    homefire.store.close()


def test_a_revoked_key_from_the_environment_is_refused_without_being_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(API_KEY_VARIABLE, KEY)
    home = Home(tmp_path / "home")
    revoke_all(built(home))
    with pytest.raises(ConfigError, match="environment HOMEFIRE_API_KEY was revoked on 20") as refused:
        built(home)
    assert KEY not in str(refused.value)
    monkeypatch.setenv(API_KEY_VARIABLE, "another-key-of-this-house")
    built(home).store.close()


def test_a_revoked_key_from_the_home_is_refused_until_its_file_is_gone(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    revoke_all(built(home))
    with pytest.raises(ConfigError, match=r"credentials/api_key was revoked"):
        built(home)
    (home.credentials / "api_key").unlink()
    homefire = built(home)
    assert sum(row.revoked_at_s is None for row in homefire.store.keys.list()) == 1
    homefire.store.close()


def test_an_engine_that_nobody_brings_is_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="There is no 'llama' among engines") as refused:
        built(Home(tmp_path / "home"), **{"serving.engine": "llama"})
    assert refused.value.details["key"] == "serving.engine"
