from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import EntryPoint

import pytest
import typer
from typer.main import get_command

from homefire.cli import main
from homefire.cli.command import Call
from homefire.errors import ConfigError
from homefire.plugins import load_plugins
from tests.cli.conftest import Command


def greet(call: Call, name: str = "you") -> None:
    """Greet."""
    call.out.document({"hello": name})


class Brings:
    """A plugin with one command."""

    def __init__(self, name: str) -> None:
        self._name = name

    def homefire_cli_commands(self) -> dict[str, Callable[..., None]]:
        return {self._name: greet}


def test_a_plugin_brings_a_command_with_the_options_of_all_commands(
    offline: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        main, "load_plugins", lambda: load_plugins(builtins={"mine": Brings("greet")}, installed=())
    )
    assert offline("greet", "--name", "me", "--json").document == {"hello": "me"}


def test_a_plugin_cannot_replace_a_command() -> None:
    with pytest.raises(ConfigError, match="“ask”"):
        main.build(load_plugins(builtins={"mine": Brings("ask")}, installed=()))


def test_a_broken_plugin_breaks_no_command(offline: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = EntryPoint(name="broken", value="no.such.module", group="homefire")
    monkeypatch.setattr(main, "load_plugins", lambda: load_plugins(installed=(broken,)))
    result = offline("config", "check")
    assert result.code == 0
    assert "plugins are left out: The plugin broken" in result.err


def test_without_plugins_the_tree_is_the_documented_one() -> None:
    tree = get_command(main.build())
    assert isinstance(main.build(), typer.Typer)
    assert "greet" not in getattr(tree, "commands", {})
