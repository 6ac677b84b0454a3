"""Which model answers a request, and why, in words.

The catalog says what a name means; the router decides. For now the name that was asked for decides alone:
`"default"` → alias `live` → version `v003` reads `'default' → 'live' → 'v003'`. What else a decision may rest on
is in the request already. Nothing is ever answered by a model that was not asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from homefire.catalog.catalog import Catalog
from homefire.catalog.models import ModelInfo, Resolved
from homefire.errors import quoted
from homefire.types import Message


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteRequest:
    """What is known of a request before a model is chosen for it."""

    model: str
    """The name that was asked for."""
    messages: Sequence[Message] | None = None
    channel: str = "api"
    principal_id: str | None = None
    session_id: str | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """The model chosen for a request, and why."""

    resolved: Resolved
    reason: str

    @property
    def model(self) -> ModelInfo:
        return self.resolved.model


class Router:
    """Costs what the catalog's `resolve` costs: a short read for each step of the chain."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def route(self, request: RouteRequest) -> Route:
        """The route of a request. Raises ModelNotFound (`details["nearest"]`)."""
        resolved = self._catalog.resolve(request.model)
        return Route(resolved, in_words(resolved.chain))


def in_words(chain: tuple[str, ...]) -> str:
    """The reason of a route that a name decided: the chain of names that was followed."""
    if len(chain) == 1:
        return f"{quoted(chain[0])} was asked for"
    return " → ".join(repr(name) for name in chain)
