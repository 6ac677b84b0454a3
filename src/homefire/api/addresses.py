"""Which dialect an address speaks, also one that does not exist, and what someone meant who missed it.

Made once from the route table. Two dictionary look-ups for an address that exists.
"""

from __future__ import annotations

from collections.abc import Container, Iterable

from homefire.api.failures import Dialect
from homefire.errors import NotFound

API_PREFIXES = ("/v1/", "/api/")


class Addresses:
    """The API's addresses with their dialects, the chat routes first."""

    def __init__(self, routes: Iterable[tuple[str, Dialect]]) -> None:
        self._exact: dict[str, Dialect] = {}
        self._families: dict[str, Dialect] = {}
        for path, dialect in routes:
            self._exact.setdefault(path, dialect)
            if path.startswith(API_PREFIXES):
                self._families.setdefault(_family(path), dialect)

    def dialect(self, path: str, header_names: Container[bytes] = ()) -> Dialect:
        """Whose clients call this address, for errors that arise before a handler is chosen.

        OpenAI and Anthropic share `/v1/models` and everything below `/v1` that is nothing here; Anthropic's
        clients are known by their header.
        """
        found = self._exact.get(path) or self._families.get(_family(path))
        if found is None:
            if path.startswith("/api/"):
                return "ollama"
            if not path.startswith("/v1/"):
                meant = self._meant(path)
                return self.dialect(meant, header_names) if meant is not None else "native"
            found = "openai"
        if found == "openai" and b"anthropic-version" in header_names and "/chat/" not in path:
            return "anthropic"
        return found

    def not_found(self, path: str) -> NotFound:
        """The error for an address that is nothing, with a hint where it is nearly one."""
        meant = self._meant(path)
        if meant is None:
            hint = "docs/reference/api.md lists all addresses."
        elif meant.startswith("/v1/") and not path.startswith("/v1/"):
            hint = f"Did you mean {meant}? The base URL that a client is given ends in /v1."
        else:
            hint = f"Did you mean {meant}? Check the base URL that the client was given."
        return NotFound(f"There is nothing at {path[:200]}.", hint=hint)

    def _meant(self, path: str) -> str | None:
        """The address that exists when a prefix is added to this one, or taken away."""
        path = path.rstrip("/")
        for prefix in ("/v1", "/api"):
            if prefix + path in self._exact:
                return prefix + path
            shorter = path.removeprefix(prefix)
            if shorter != path and shorter in self._exact and shorter.startswith(API_PREFIXES):
                return shorter
        return None


def _family(path: str) -> str:
    """`/v1/runs/run_1/events` → `/v1/runs`."""
    return "/".join(path.split("/", 3)[:3])
