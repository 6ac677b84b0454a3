from __future__ import annotations

import re
from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace

import pytest

import homefire
from homefire.errors import ConfigError, NotFound
from homefire.plugins import ENTRY_POINT_GROUP, HOOKS, Plugins, load_plugins

llama = SimpleNamespace(homefire_engines=lambda: {"llama.cpp": dict})
greeter = SimpleNamespace(
    homefire_cli_commands=lambda: {"greet": list}, homefire_engines=lambda: {"other": set}
)


def entry_point(name: str, value: str) -> EntryPoint:
    return EntryPoint(name=name, value=value, group=ENTRY_POINT_GROUP)


def test_builtins_and_packages_go_through_the_same_hooks() -> None:
    plugins = load_plugins(
        builtins={"llama": llama}, installed=[entry_point("package", "tests.test_plugins:greeter")]
    )
    assert plugins.get("engines", "llama.cpp") is dict
    assert plugins.get("cli_commands", "greet") is list
    assert set(plugins.all("engines")) == {"llama.cpp", "other"}


def test_every_hook_says_what_it_is_for() -> None:
    assert set(HOOKS) == {"engines", "models", "cli_commands"}
    assert all(len(text) > 20 for text in HOOKS.values())


def test_what_is_not_there_is_named_with_what_is() -> None:
    plugins = load_plugins(builtins={"llama": llama}, installed=[])
    with pytest.raises(NotFound, match=r"There are: llama\.cpp"):
        plugins.get("engines", "vllm")
    with pytest.raises(KeyError, match="not a hook"):
        Plugins().all("comets")


def test_a_name_brought_twice_is_refused_naming_both() -> None:
    with pytest.raises(ConfigError, match=r"one and two both bring 'llama\.cpp' to engines"):
        load_plugins(builtins={"one": llama, "two": llama}, installed=[])


def test_an_unknown_hook_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="Did you mean homefire_engines"):
        load_plugins(builtins={"odd": SimpleNamespace(homefire_engine=dict)}, installed=[])


@pytest.mark.parametrize("value", ["no.such.module", "tests.test_plugins:nothing"])
def test_a_package_that_cannot_be_loaded_is_named(value: str) -> None:
    with pytest.raises(ConfigError, match=r"The plugin broken .*cannot be loaded") as caught:
        load_plugins(installed=[entry_point("broken", value)])
    assert "uninstall" in str(caught.value)


def test_every_hook_is_called_by_something() -> None:
    """A hook that nothing asks for would promise what is not kept."""
    source = "".join(path.read_text() for path in Path(homefire.__file__).parent.rglob("*.py"))
    asked = set(re.findall(r'plugins\.(?:get|all)\("(\w+)"|load_plugins\(.*\)\.all\("(\w+)"', source))
    assert {name for pair in asked for name in pair if name} == set(HOOKS)
