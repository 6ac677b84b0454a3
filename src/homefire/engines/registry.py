"""The engines that plugins brought, by name: what each reads, and how one is made for a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from homefire.engines.base import Engine, ModelSpec, SourceKind
from homefire.errors import ConfigError, NotFound
from homefire.plugins import Plugins


class EngineRegistry:
    """`context` is handed to every factory beside the model (`sockets`, `settings`, `world`, …)."""

    def __init__(self, plugins: Plugins, *, context: Mapping[str, Any]) -> None:
        """Raises ConfigError for an engine that does not say what it reads."""
        self._plugins, self._context = plugins, context
        self.source_kinds: Mapping[str, SourceKind] = {
            name: _source_kind(name, factory) for name, factory in plugins.all("engines").items()
        }

    def check(self, name: str, *, wanted_by: str) -> None:
        """ConfigError (`details["key"]`: who wants it) for an engine that nobody brings."""
        try:
            self._plugins.get("engines", name)
        except NotFound as error:
            raise ConfigError(
                error.message,
                hint=f"Set {wanted_by} to one of them, or install the package that brings it.",
                key=wanted_by,
            ) from None

    def make(self, spec: ModelSpec) -> Engine:
        """The engine that the model names, not loaded yet."""
        engine: Engine = self._plugins.get("engines", spec.engine)(spec, **self._context)
        return engine


def _source_kind(name: str, factory: object) -> SourceKind:
    kind: SourceKind | None = getattr(factory, "source_kind", None)
    if kind not in get_args(SourceKind):
        raise ConfigError(
            f"The engine {name} does not say what it reads.",
            hint=f"Its factory needs an attribute source_kind: {', '.join(get_args(SourceKind))}.",
            engine=name,
        )
    assert kind is not None
    return kind
