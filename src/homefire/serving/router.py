"""Which model answers: for now the alias table only, followed by the catalog; the reasons are in words.

`"default"` → alias `live` → version `v003` reads `'default' → 'live' → 'v003'`. An unknown name is
ModelNotFound with the nearest known one; nothing is ever answered by a model that was not asked for.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from homefire.errors import ModelNotFound

if TYPE_CHECKING:
    from homefire.catalog.catalog import Catalog, ModelInfo


@dataclass(frozen=True, slots=True)
class Route:
    """The model chosen for a request, with its reasons; `chain` runs from the name asked for to its own."""

    requested: str
    model: ModelInfo
    chain: tuple[str, ...]
    reason: str


class Router:
    """Resolves names. Costs what the catalog's `resolve` costs."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def route(self, name: str) -> Route:
        """The route of a request that names `name`. Raises ModelNotFound."""
        try:
            resolved = self._catalog.resolve(name)
        except ModelNotFound as error:
            raise self._with_nearest(error, name) from None
        return Route(name, resolved.model, resolved.chain, in_words(resolved.chain))

    def _with_nearest(self, error: ModelNotFound, name: str) -> ModelNotFound:
        if "nearest" in error.details:
            return error
        known = {model.name for model in self._catalog.list()}
        nearest = difflib.get_close_matches(name, sorted(known), n=1)
        hint = f"Did you mean {nearest[0]!r}?" if nearest else "GET /v1/models lists those there are."
        return ModelNotFound(
            f"There is no model {name!r}.", hint=hint, nearest=nearest[0] if nearest else None
        )


def in_words(chain: tuple[str, ...]) -> str:
    """The reason of a route, for people: the chain of names that was followed."""
    if len(chain) == 1:
        return f"{chain[0]!r} was asked for"
    return " → ".join(repr(name) for name in chain)
