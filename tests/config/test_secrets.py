from __future__ import annotations

from pathlib import Path

import pytest

from homefire.config.secrets import Secret, load_api_key
from homefire.errors import ConfigError
from homefire.home import Home
from homefire.store.api_keys import keep_api_key
from homefire.world import World

CANARY = "canary-secret-value"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home").create()


def test_there_is_no_key_before_one_is_kept(home: Home) -> None:
    assert load_api_key(home, environ={}) is None
    kept = keep_api_key(home, CANARY, World())
    loaded = load_api_key(home, environ={})
    assert loaded == kept
    assert kept.reveal() == CANARY
    assert (home.credentials / "api_key").stat().st_mode & 0o777 == 0o600


def test_the_environment_comes_before_the_credentials_folders(home: Home, tmp_path: Path) -> None:
    keep_api_key(home, "from-the-home", World())
    (tmp_path / "api_key").write_text("from-the-service\n", encoding="ascii")
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    found = load_api_key(home, environ=environ)
    assert found is not None
    assert found.reveal() == "from-the-service"
    found = load_api_key(home, environ={**environ, "HOMEFIRE_API_KEY": "from-the-environment"})
    assert found is not None
    assert (found.reveal(), found.origin) == ("from-the-environment", "environment HOMEFIRE_API_KEY")


def test_a_key_that_others_can_read_is_refused(home: Home) -> None:
    keep_api_key(home, CANARY, World())
    (home.credentials / "api_key").chmod(0o644)
    with pytest.raises(ConfigError, match="other users") as caught:
        load_api_key(home, environ={})
    assert "chmod 600" in str(caught.value)


@pytest.mark.parametrize("text", ["", "short", "with a space in it", "with-an-ümlaut-in-it"])
def test_what_is_no_key_is_refused_and_not_printed(home: Home, text: str) -> None:
    with pytest.raises(ConfigError, match="is not one") as caught:
        load_api_key(home, environ={"HOMEFIRE_API_KEY": text})
    assert text == "" or text not in str(caught.value)


def test_a_secret_does_not_print_itself() -> None:
    secret = Secret(CANARY, "here")
    assert CANARY not in f"{secret} {secret!r} {[secret]} {vars_of(secret)}"


def vars_of(secret: Secret) -> str:
    return str({"secret": secret})
