"""Each file of a home that was killed at each phase, damaged in each way: repaired, refused, or named.

A sample in the usual run of the tests; everything with `make faults`.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from homefire.cli.doctor_checks import passed
from homefire.home import Home
from tests.faults import home_damage
from tests.faults.home_damage import HARMS, doctor_findings, fault_of, files_of
from tests.faults.lives import PHASES, Acknowledged, live_until

SEED = 6
EVERYTHING = os.environ.get("HOMEFIRE_FAULTS") == "all"
NUM_SAMPLED = 2
"""Of each harm; the files that hold the home together are tried with all harms besides."""
TELLING = ("homefire.db", "credentials/api_key", "models/base/ember/model.safetensors")

Life = Callable[[str], tuple[Path, Acknowledged]]


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> Life:
    """Homes by their phase, each lived once."""
    lived: dict[str, tuple[Path, Acknowledged]] = {}

    def at(phase: str) -> tuple[Path, Acknowledged]:
        if phase not in lived:
            root = tmp_path_factory.mktemp("faults") / phase
            lived[phase] = root, live_until(root, phase)
        return lived[phase]

    return at


def chosen(root: Path, harm: str) -> list[str]:
    files = files_of(root)
    if EVERYTHING:
        return files
    dice = random.Random(f"{SEED}{harm}")
    return sorted(dice.sample(files, NUM_SAMPLED))


@pytest.mark.timeout(3600 if EVERYTHING else 120)
@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize("phase", PHASES if EVERYTHING else ["live"])
def test_a_damaged_file_is_repaired_refused_or_named(life: Life, phase: str, harm: str) -> None:
    root, said = life(phase)
    faults = {}
    for seed, name in enumerate(chosen(root, harm)):
        fault = fault_of(root, said, name=name, harm=harm, seed=seed)
        if fault is not None:
            faults[name] = fault
    assert faults == {}


@pytest.mark.parametrize(
    ("name", "harm"),
    [
        ("homefire.db", "delete"),
        ("homefire.db", "empty"),
        ("homefire.db", "to_folder"),
        ("homefire.db-wal", "flip"),
        ("homefire.db-wal", "cut"),
        ("homefire.db-wal", "delete"),
        ("credentials/api_key", "empty"),
        ("credentials/api_key", "to_folder"),
        ("models/base/ember/model.safetensors", "flip"),
    ],
)
def test_what_holds_the_home_together_is_named(life: Life, name: str, harm: str) -> None:
    root, said = life("live")
    assert fault_of(root, said, name=name, harm=harm, seed=1) is None


def test_a_killed_home_without_damage_is_whole_at_every_phase(life: Life) -> None:
    for phase in PHASES if EVERYTHING else ("publishing", "promoting", "live"):
        root, said = life(phase)
        (root / "a file that is not there").write_text("")
        assert fault_of(root, said, name="a file that is not there", harm="delete", seed=0) is None
        (root / "a file that is not there").unlink()


def test_planted_bug_a_doctor_and_a_start_that_look_at_nothing_are_noticed(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, said = life("live")
    blob = max(
        (name for name in files_of(root) if name.startswith("blobs/")),
        key=lambda it: (root / it).stat().st_size,
    )
    monkeypatch.setattr(home_damage, "home_checks", lambda *_, **__: {"all": lambda: passed("fine")})
    assert fault_of(root, said, name=blob, harm="flip", seed=1) is not None


def test_a_home_that_is_well_is_found_well(life: Life) -> None:
    root, _ = life("live")
    found = doctor_findings(Home(root))
    assert {name: check.what for name, check in found.items() if check.status != "pass"} == {}
