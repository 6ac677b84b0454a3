"""Which model answers: for now the alias table only, followed by the catalog; the reasons are in words.

`"default"` → alias `live` → version `v003` reads `'default' → 'live' → 'v003'`. An unknown name is
ModelNotFound with the nearest known one; nothing is ever answered by a model that was not asked for.
"""

from __future__ import annotations

from dataclasses import dataclass

from homefire.catalog.catalog import Catalog
from homefire.catalog.models import ModelInfo


@dataclass(frozen=True, slots=True)
class Route:
    """The model chosen for a request, with its reasons; `chain` runs from the name asked for to its own."""

    requested: str
    model: ModelInfo
    chain: tuple[str, ...]
    reason: str


class Router:
    """Resolves names. Costs what the catalog's `resolve` costs: a short read for each step of the chain."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def route(self, name: str) -> Route:
        """The route of a request that names `name`. Raises ModelNotFound (`details["nearest"]`)."""
        resolved = self._catalog.resolve(name)
        return Route(name, resolved.model, resolved.chain, in_words(resolved.chain))


def in_words(chain: tuple[str, ...]) -> str:
    """The reason of a route, for people: the chain of names that was followed."""
    if len(chain) == 1:
        return f"{chain[0]!r} was asked for"
    return " → ".join(repr(name) for name in chain)
