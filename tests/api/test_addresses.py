"""Whose clients call an address, and what was meant by one that does not exist."""

from __future__ import annotations

import pytest

from homefire.api.addresses import Addresses
from homefire.api.failures import Dialect

ADDRESSES = Addresses(
    [
        ("/v1/chat/completions", "openai"),
        ("/v1/models", "openai"),
        ("/v1/models/{model}/files", "native"),
        ("/v1/messages", "anthropic"),
        ("/v1/runs", "native"),
        ("/v1/runs/special", "openai"),
        ("/api/chat", "ollama"),
        ("/health", "native"),
    ]
)
ANTHROPIC = (b"anthropic-version",)


@pytest.mark.parametrize(
    ("path", "headers", "dialect"),
    [
        ("/v1/runs/special", (), "openai"),
        ("/v1/runs/run_1/events", (), "native"),
        ("/v1/runs/run_1/events", ANTHROPIC, "native"),
        ("/v1/models", (), "openai"),
        ("/v1/models", ANTHROPIC, "anthropic"),
        ("/v1/chat/completions", ANTHROPIC, "openai"),
        ("/v1/nothing", (), "openai"),
        ("/v1/nothing", ANTHROPIC, "anthropic"),
        ("/api/nothing", ANTHROPIC, "ollama"),
        ("/models", ANTHROPIC, "anthropic"),
        ("/models", (), "openai"),
        ("/chat", (), "ollama"),
        ("/health", (), "native"),
        ("/nothing", (), "native"),
    ],
)
def test_an_address_speaks_its_own_dialect_or_its_neighbours(
    path: str, headers: tuple[bytes, ...], dialect: Dialect
) -> None:
    assert ADDRESSES.dialect(path, headers) == dialect


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("/messages", "Did you mean /v1/messages? The base URL that a client is given ends in /v1."),
        ("/chat/", "Did you mean /api/chat? Check"),
        ("/v1/v1/messages", "Did you mean /v1/messages? Check"),
        ("/v1/health", "docs/reference/api.md"),
        ("/nothing", "docs/reference/api.md"),
    ],
)
def test_what_is_nearly_an_address_is_told_which(path: str, hint: str) -> None:
    error = ADDRESSES.not_found(path)
    assert error.hint is not None
    assert error.hint.startswith(hint)
    assert path in error.message
