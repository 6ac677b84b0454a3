"""What a proof is: settings in, an observation out. See `tests/test_every_setting.py`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from homefire.config.schema import Settings


@dataclass
class Bench:
    """Where one observation is made."""

    settings: Settings
    root: Path
    monkeypatch: pytest.MonkeyPatch


@dataclass(frozen=True)
class Proof:
    """What must be seen with which value."""

    observe: Callable[[Bench], Any]
    pairs: tuple[tuple[str, Any], ...]


PROOFS: dict[str, Proof] = {}


def sees(key: str, *pairs: tuple[str, Any]) -> Callable[[Callable[[Bench], Any]], Callable[[Bench], Any]]:
    """Register a proof for a key."""

    def register(observe: Callable[[Bench], Any]) -> Callable[[Bench], Any]:
        assert key not in PROOFS, f"two proofs for {key}"
        PROOFS[key] = Proof(observe, pairs)
        return observe

    return register


async def observed(bench: Bench, proof: Proof) -> Any:
    seen = proof.observe(bench)
    return await seen if inspect.isawaitable(seen) else seen
