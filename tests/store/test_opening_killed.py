"""Opening a home (a new one, one whose tables are made anew) killed at every statement and file operation."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import Any

import pytest

from homefire.config.schema import StoreSettings
from homefire.errors import HomefireError
from homefire.home import Home
from homefire.store import projections
from homefire.store.driver import Connection, driver
from homefire.store.store import open_store
from homefire.world import World
from tests.store.samples import turn
from tests.store.test_schema import another_shape
from tests.support.kills import Killed, KillSwitch, telling_moments

SETTINGS = StoreSettings(reserve_bytes=0)


def faults_after_kills(scene: Path, *, num_turns: int, autocommit: bool = False) -> list[str]:
    """Opens copies of the home, killed at one operation after another; what the next start does not find as
    it should be, up to the first kill that shows it."""
    whole = open_killed(scene, -1, autocommit=autocommit)
    assert len(whole.done) > 20, "there is less to kill than a start has to do"
    for number in telling_moments(whole.done):
        open_killed(scene, number, autocommit=autocommit)
        found = faults(home_of(scene, number), num_turns=num_turns)
        if found:
            return [f"killed at {number}: {fault}" for fault in found]
    return []


def home_of(scene: Path, number: int) -> Home:
    return Home(scene.with_name(f"kill-{number}"))


def open_killed(scene: Path, number: int, *, autocommit: bool) -> KillSwitch:
    """Open a copy of the home and be killed at this operation."""
    home = home_of(scene, number)
    shutil.copytree(scene, home.root)
    switch, opened = KillSwitch(number), contextlib.ExitStack()
    with pytest.MonkeyPatch.context() as patch, contextlib.suppress(Killed):
        switch.watch_files(patch)
        switch.watch_database(patch, autocommit=autocommit)
        opened.push(open_store(home, SETTINGS, World()))
        switch.retire()
    opened.close()
    return switch


def faults(home: Home, *, num_turns: int) -> list[str]:
    """What is not right at the start after the kill."""
    try:
        with open_store(home, SETTINGS, World()) as store:
            missing = [number for number in range(num_turns) if store.turns.get(f"turn-{number}") is None]
            problems = [*store.check(full=True).problems, *(f"turn-{number} is gone" for number in missing)]
            store.append_sync(turn("after", session="after"))
    except (HomefireError, driver.Error) as error:
        return [str(error)]
    return [str(problem) for problem in problems]


def test_a_first_start_killed_anywhere_is_begun_anew(tmp_path: Path) -> None:
    scene = tmp_path / "home"
    scene.mkdir()
    assert faults_after_kills(scene, num_turns=0) == []


def test_planted_bug_a_schema_made_in_several_transactions_is_noticed(tmp_path: Path) -> None:
    scene = tmp_path / "home"
    scene.mkdir()
    (fault,) = faults_after_kills(scene, num_turns=0, autocommit=True)
    assert "not one of Homefire" in fault


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with two turns, and a program whose table of turns has another shape."""
    scene = tmp_path / "home"
    with open_store(Home(scene), SETTINGS, World()) as store:
        for number in range(2):
            store.append_sync(turn(str(number), session=f"s{number}"))
    another_shape(monkeypatch)
    return scene


def test_an_update_of_the_tables_killed_anywhere_is_done_again(old: Path) -> None:
    assert faults_after_kills(old, num_turns=2) == []


def test_planted_bug_tables_that_are_called_new_before_they_are_filled_are_noticed(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = projections.create_tables

    def create_and_stamp(connection: Connection, *arguments: Any) -> None:
        create(connection, *arguments)
        if "schema_state" in {name for (name,) in connection.execute("SELECT name FROM sqlite_schema")}:
            connection.execute("UPDATE schema_state SET projections = ?", (projections.fingerprint(),))

    monkeypatch.setattr(projections, "create_tables", create_and_stamp)
    found = faults_after_kills(old, num_turns=2, autocommit=True)
    assert any("turn-0" in fault for fault in found), found
