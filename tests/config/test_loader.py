from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from homefire.config.interpolate import UnsetVariable, interpolate
from homefire.config.loader import Loaded, load_settings, nearest_key
from homefire.config.schema import Settings, iter_keys
from homefire.config.values import is_list, is_optional
from homefire.errors import ConfigError, StoreReadOnly
from homefire.home import Home

API_KEY = "hf-" + "k" * 43


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def load(
    home: Home,
    text: str | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, str] | None = None,
) -> Loaded:
    if text is not None:
        home.settings_file.write_text(text, encoding="utf-8")
    return load_settings(home, overrides=overrides, environ=environ or {})


def refusal(home: Home, text: str, **more: Any) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load(home, text, **more)
    return caught.value


def value_of(loaded: Loaded, dotted: str) -> Any:
    section, _, name = dotted.partition(".")
    return getattr(getattr(loaded.settings, section), name)


def another_value(dotted: str, default: Any) -> str:
    """A valid text for a key that differs from its default."""
    special = {
        "chat.overflow": "refuse", "serving.gguf_dtype": "f32", "training.mode": "lora",
        "training.device": "cpu", "training.activation_checkpointing": "on", "training.base_precision": "int8",
        "logging.level": "debug", "logging.format": "json", "chat.temperature": "0.5", "training.nice": "3",
    }  # fmt: skip
    if dotted in special:
        return special[dotted]
    if isinstance(default, bool):
        return "false" if default else "true"
    if isinstance(default, int | float):
        return "0.5" if 0 < default <= 1 and isinstance(default, float) else str(default + 64)
    whole = ("serving.context_length", "serving.memory_budget_bytes", "training.max_steps")
    return "128" if dotted in whole else "0.25"


ALL_KEYS = {key.dotted: key for key in iter_keys()}


def test_defaults_are_loopback_and_come_from_nowhere(home: Home) -> None:
    loaded = load(home)
    assert loaded.settings == Settings()
    assert (loaded.settings.server.host, loaded.settings.server.port) == ("127.0.0.1", 8765)
    assert set(loaded.origins) == set(ALL_KEYS)
    assert set(loaded.origins.values()) == {"default"}


def test_the_command_line_beats_the_environment_beats_the_file(home: Home) -> None:
    text = "[server]\n\nport = 1\nhost = 'a'\nmax_body_bytes = 7\n"
    environ = {"HOMEFIRE_SERVER__PORT": "2", "HOMEFIRE_SERVER__HOST": "b"}
    loaded = load(home, text, environ=environ, overrides={"server.port": "3"})
    server = loaded.settings.server
    assert (server.port, server.host, server.max_body_bytes) == (3, "b", 7)
    assert loaded.origins["server.port"] == "command line"
    assert loaded.origins["server.host"] == "environment HOMEFIRE_SERVER__HOST"
    assert loaded.origins["server.max_body_bytes"] == f"file {home.settings_file}:5"
    assert loaded.origins["chat.overflow"] == "default"


@pytest.mark.parametrize("dotted", ALL_KEYS)
def test_every_key_can_be_set_from_each_place(home: Home, dotted: str) -> None:
    key = ALL_KEYS[dotted]
    text = another_value(dotted, key.default)
    by_variable = load(home, environ={key.variable: text})
    by_option = load(home, overrides={dotted: text})
    by_file = load(home, f'[{key.section}]\n{key.name} = "${{X}}"\n', environ={"X": text})
    assert value_of(by_variable, dotted) == value_of(by_option, dotted) == value_of(by_file, dotted)
    assert value_of(by_variable, dotted) != key.default
    assert by_file.origins[dotted].startswith("file ")


@pytest.mark.parametrize(
    ("text", "nearest"),
    [
        ("[server]\nprot = 1", "server.port"),
        ("[servr]\nport = 1", "server.port"),
        ("[chat]\nport = 1", "server.port"),
        ("[training]\nlearning_rat = 1", "training.learning_rate"),
        ("port = 1", "server.port"),
    ],
)
def test_an_unknown_key_names_the_nearest_one(home: Home, text: str, nearest: str) -> None:
    error = refusal(home, text)
    assert f"Did you mean {nearest}?" in error.message
    assert f"{home.settings_file}:" in error.message


def test_an_unknown_key_that_resembles_none_stands_alone(home: Home) -> None:
    error = refusal(home, "[quux]\nzzz = 1")
    assert error.details["key"] == "quux.zzz"
    assert "Did you mean" not in error.message
    assert nearest_key("quux.zzz", ALL_KEYS) is None


@pytest.mark.parametrize("text", ["[quux]\n", "[server.deep]\nport = 1\n"])
def test_unknown_sections_are_refused(home: Home, text: str) -> None:
    assert "is not a setting" in refusal(home, text).message


def test_an_unknown_variable_names_the_nearest_one(home: Home) -> None:
    error = refusal(home, "", environ={"HOMEFIRE_SERVER__PROT": "1"})
    assert "HOMEFIRE_SERVER__PROT" in error.message
    assert "Did you mean HOMEFIRE_SERVER__PORT?" in error.message


def test_variables_without_a_section_are_not_ours_to_judge(home: Home) -> None:
    load(home, environ={"HOMEFIRE_HOME": "/x", "HOMEFIRE_API_KEY": API_KEY, "HOMEFIREWORKS__X": "1"})


def test_an_unknown_option_is_refused(home: Home) -> None:
    error = refusal(home, "", overrides={"server.prot": "1"})
    assert error.message == "server.prot (command line) is not a setting. Did you mean server.port?"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[server]\nport = "9000"', 'server.port = "9000" '),
        ("[server]\nport = true", "expected whole number, at least 0, at most 65535."),
        ("[server]\nport = 70000", "server.port = 70000"),
        ("[server]\nport = 1.5", "expected whole number"),
        ("[server]\nallowed_hosts = 'a'", "expected list of texts."),
        ("[server]\nallowed_hosts = [1]", "expected list of texts."),
        ("[server]\nloopback_without_key = 1", "expected true or false."),
        ("[server]\nhost = 1", "expected text."),
        ("[chat]\ntemperature = 3", "expected number or unset, at least 0, at most 2."),
        ("[chat]\noverflow = 'drop'", "expected one of trim, refuse."),
        ("[training]\nquiet_s = nan", "expected number or unset, at least 0."),
        ("[training]\nlearning_rate = 0", "expected number or unset, more than 0."),
        ("[gate]\nmin_locality = 2", "expected number, at least 0, at most 1."),
        ("[chat]\ndefault_model = ''", "expected text, length at least 1."),
        ("[server]\nport = 2020-01-01", "expected whole number"),
    ],
)
def test_a_wrong_value_names_key_value_origin_and_what_was_expected(
    home: Home, text: str, words: str
) -> None:
    error = refusal(home, text)
    assert words in error.message
    assert error.details["key"] in error.message
    assert f"(file {home.settings_file}:2)" in error.message


@pytest.mark.parametrize("text", ["x", "1.5", "", "70000"])
def test_wrong_text_from_the_environment_is_refused_alike(home: Home, text: str) -> None:
    error = refusal(home, "", environ={"HOMEFIRE_SERVER__PORT": text})
    assert "environment HOMEFIRE_SERVER__PORT" in error.message
    assert "expected whole number" in error.message


def test_all_that_is_wrong_is_said_at_once(home: Home) -> None:
    error = refusal(home, "[server]\nport = 'x'\nhost = 1\n", overrides={"a.b": "1"})
    assert "3 settings are wrong" in error.message
    assert error.details["keys"] == ["a.b", "server.port", "server.host"]


@pytest.mark.parametrize(
    ("dotted", "text", "value"),
    [
        ("server.allowed_hosts", "a, b,", ("a", "b")),
        ("server.allowed_hosts", '["a"]', ("a",)),
        ("server.allowed_hosts", "", ()),
        ("chat.temperature", "", None),
        ("chat.temperature", "none", None),
        ("chat.system_prompt", "null", None),
        ("training.auto", "off", False),
        ("training.auto", "True", True),
        ("training.quiet_s", "3", 3.0),
    ],
)
def test_text_is_read_by_the_keys_type(home: Home, dotted: str, text: str, value: object) -> None:
    assert value_of(load(home, overrides={dotted: text}), dotted) == value


def test_a_whole_number_is_a_number(home: Home) -> None:
    assert load(home, "[training]\nquiet_s = 3\n").settings.training.quiet_s == 3.0


def test_variables_are_replaced_anywhere_in_the_file(home: Home) -> None:
    text = (
        '[server]\nport = "${PORT:-99}"\nallowed_hosts = ["${NAME}.lan", "x"]\n'
        '[chat]\nsystem_prompt = "I am ${NAME:-nobody}, not $${NAME}"\n'
    )
    settings = load(home, text, environ={"NAME": "ada"}).settings
    assert settings.server.port == 99
    assert settings.server.allowed_hosts == ("ada.lan", "x")
    assert settings.chat.system_prompt == "I am ada, not ${NAME}"


def test_an_unset_variable_names_itself_and_its_key(home: Home) -> None:
    error = refusal(home, '[server]\nport = "${PORT}"\n')
    assert "server.port" in error.message
    assert "PORT is not set" in error.message


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("${A}", "1"),
        ("x${A}y${B:-2}", "x1y2"),
        ("${E:-d}", "d"),
        ("${E}", ""),
        ("$A ${B:-}", "$A "),
        ("$${A}", "${A}"),
    ],
)
def test_marks_are_replaced_as_in_a_shell(text: str, result: str) -> None:
    assert interpolate(text, {"A": "1", "E": ""}) == result


@pytest.mark.parametrize("text", ["${", "${1}", "${A", "${A:+x}"])
def test_broken_marks_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="starts no variable"):
        interpolate(text, {"A": "1"})
    with pytest.raises(UnsetVariable) as caught:
        interpolate("${MISSING}", {})
    assert caught.value.name == "MISSING"


@pytest.mark.parametrize(
    "text",
    [
        "[server]\napi_key = 'canary-secret'",
        "api_key = 'canary-secret'",
        "[secrets]\ntoken = 'canary-secret'",
        f"[chat]\nsystem_prompt = '{API_KEY}'",
        f"[server]\nallowed_hosts = ['{API_KEY}']",
    ],
)
def test_a_secret_in_the_file_is_refused_and_not_printed(home: Home, text: str) -> None:
    error = refusal(home, text)
    assert "is a secret" in error.message
    assert "HOMEFIRE_API_KEY" in error.message
    assert "canary-secret" not in str(error)
    assert API_KEY not in str(error)


def test_a_secret_that_was_interpolated_into_a_wrong_place_is_not_printed(home: Home) -> None:
    environ = {"HOMEFIRE_API_KEY": "canary-secret-value"}
    error = refusal(home, '[server]\nport = "${HOMEFIRE_API_KEY}"\n', environ=environ)
    assert "server.port" in error.message
    assert "canary" not in str(error)


def test_broken_files_are_named(home: Home) -> None:
    assert "not valid TOML" in refusal(home, "[server").message
    home.settings_file.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="UTF-8"):
        load(home)
    home.settings_file.unlink()
    home.settings_file.mkdir()
    with pytest.raises(StoreReadOnly, match="cannot be read"):
        load(home)


def test_settings_cannot_be_changed(home: Home) -> None:
    with pytest.raises(ValueError, match="frozen"):
        load(home).settings.server.port = 1  # type: ignore[misc]


def test_kinds_of_keys_are_told_apart() -> None:
    assert is_optional(ALL_KEYS["chat.temperature"])
    assert not is_optional(ALL_KEYS["server.port"])
    assert is_list(ALL_KEYS["server.allowed_hosts"])
