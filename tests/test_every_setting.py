"""Every setting has an effect: for each key, two values and what is seen with each.

A proof is a function that is given settings and returns what it observed. `sees` names the key it is about,
and pairs of a value (as on the command line) and the observation it must lead to. A key without a proof fails
a test, and so does a proof that would also pass if the key were ignored.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from homefire.config.loader import load_settings
from homefire.config.schema import iter_keys
from homefire.home import Home
from tests.proofs import doors, ground, learning, serving
from tests.proofs.bench import PROOFS, Bench, observed

PROVEN = (doors, ground, learning, serving)
"""Importing them registers the proofs."""

CASES = [
    pytest.param(key, value, expected, id=f"{key}={value}")
    for key, proof in PROOFS.items()
    for value, expected in proof.pairs
]

QUIET = {"training.quiet_s": "900"}
"""Beside the key in question: corrections wait to be told, so that each proof is about one thing."""


def bench_with(root: Path, monkeypatch: pytest.MonkeyPatch, overrides: dict[str, str]) -> Bench:
    loaded = load_settings(Home(root / "nowhere"), overrides={**QUIET, **overrides}, environ={})
    return Bench(loaded.settings, root, monkeypatch)


def test_every_setting_has_a_proof() -> None:
    assert set(PROOFS) == {key.dotted for key in iter_keys()}


@pytest.mark.parametrize(("key", "value", "expected"), CASES)
async def test_a_setting_does_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, value: str, expected: Any
) -> None:
    assert await observed(bench_with(tmp_path, monkeypatch, {key: value}), PROOFS[key]) == expected


@pytest.mark.parametrize("key", PROOFS)
async def test_a_setting_that_is_ignored_would_be_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    """The planted bug: whatever is asked for, one of the two values is used."""
    (used, _), (_, expected_of_the_other) = PROOFS[key].pairs
    assert (
        await observed(bench_with(tmp_path, monkeypatch, {key: used}), PROOFS[key]) != expected_of_the_other
    )
