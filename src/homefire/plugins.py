"""The hooks by which Homefire is extended, and the registry of what was brought to them.

A plugin is any module or object with functions named after hooks: `homefire_engines()` returns a mapping
from name to what makes an engine. Packages announce theirs under the entry-point group `homefire`; what is
built in goes the same way (`load_plugins(builtins=…)`). A hook is declared here only while something calls
it.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from homefire.errors import ConfigError, NotFound, quoted

ENTRY_POINT_GROUP = "homefire"
_PREFIX = "homefire_"

Factory = Callable[..., Any]

HOOKS: Mapping[str, str] = {
    "engines": "name → factory of an `engines.base.Engine` for `(spec: ModelSpec, **context)`; its attribute "
    "`source_kind` says what it reads: gguf, folder or url",
    "models": "name → function that returns the `catalog.models.RemoteModel` served under that name",
    "cli_commands": "name → function that becomes `homefire <name>`",
}
"""Every hook with what a plugin's function returns."""


@dataclass(frozen=True, slots=True)
class Plugins:
    """What all plugins brought, by hook and name."""

    _by_hook: Mapping[str, Mapping[str, Factory]] = field(default_factory=dict)

    def all(self, hook: str) -> Mapping[str, Factory]:
        """Everything brought to a hook."""
        if hook not in HOOKS:
            raise KeyError(f"{quoted(hook)} is not a hook: {', '.join(HOOKS)}")
        return self._by_hook.get(hook, {})

    def get(self, hook: str, name: str) -> Factory:
        """One of them. Raises NotFound naming those there are."""
        found = self.all(hook).get(name)
        if found is None:
            known = ", ".join(sorted(self.all(hook))) or "none"
            raise NotFound(
                f"There is no {quoted(name)} among {hook}. There are: {known}.", hook=hook, name=name
            )
        return found


def load_plugins(
    *, builtins: Mapping[str, object] | None = None, installed: Iterable[EntryPoint] | None = None
) -> Plugins:
    """Collect from built-in plugins (`name → module or object`) and from installed packages.

    Raises ConfigError for a plugin that cannot be loaded, an unknown hook, or a name that is brought twice.
    """
    sources: list[tuple[str, object]] = list((builtins or {}).items())
    for entry_point in entry_points(group=ENTRY_POINT_GROUP) if installed is None else installed:
        sources.append((entry_point.name, _load(entry_point)))
    by_hook: dict[str, dict[str, Factory]] = {hook: {} for hook in HOOKS}
    owners: dict[tuple[str, str], str] = {}
    for plugin, source in sources:
        for hook, brought in _hooks_of(plugin, source):
            for name, factory in brought.items():
                earlier = owners.setdefault((hook, name), plugin)
                if earlier != plugin or name in by_hook[hook]:
                    raise ConfigError(
                        f"The plugins {earlier} and {plugin} both bring {quoted(name)} to {hook}.",
                        hint="Uninstall one of them.",
                        hook=hook,
                        name=name,
                    )
                by_hook[hook][name] = factory
    return Plugins(by_hook)


def _load(entry_point: EntryPoint) -> object:
    try:
        return entry_point.load()
    except Exception as error:
        raise ConfigError(
            f"The plugin {entry_point.name} ({entry_point.value}) cannot be loaded: {error}",
            hint="Update or uninstall the package it comes from.",
            plugin=entry_point.name,
        ) from error


def _hooks_of(plugin: str, source: object) -> Iterable[tuple[str, Mapping[str, Factory]]]:
    for attribute in dir(source):
        if not attribute.startswith(_PREFIX):
            continue
        hook = attribute.removeprefix(_PREFIX)
        if hook not in HOOKS:
            close = difflib.get_close_matches(hook, HOOKS, n=1)
            raise ConfigError(
                f"The plugin {plugin} brings {attribute}, which is not a hook."
                + (f" Did you mean {_PREFIX}{close[0]}?" if close else ""),
                plugin=plugin,
                hook=hook,
            )
        yield hook, getattr(source, attribute)()
