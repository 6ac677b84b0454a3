from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import pytest

from homefire.home import Home
from homefire.store import store as store_module
from homefire.store.driver import driver
from homefire.store.sqlite_version import has_wal_reset_bug, parse_version, wal_reset_warning
from tests.store.conftest import Opener


@pytest.mark.parametrize("version", ["3.7.0", "3.40.1", "3.51.0", "3.51.2"])
def test_versions_in_the_corruption_range_are_warned_about(version: str) -> None:
    warning = wal_reset_warning(version)
    assert warning is not None
    assert version in warning
    assert "pysqlite3" in warning


@pytest.mark.parametrize("version", ["3.6.23", "3.51.3", "3.53.0", "3.53.4", "4.0"])
def test_other_versions_are_fine(version: str) -> None:
    assert not has_wal_reset_bug(version)
    assert wal_reset_warning(version) is None


@pytest.mark.parametrize("text", ["", "three", "3.x", "1.2.3.4.5"])
def test_what_is_no_version_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_version(text)


def test_the_bundled_library_is_a_fixed_one() -> None:
    assert not has_wal_reset_bug(driver.sqlite_version)


def test_opening_with_a_bad_library_warns(
    open_here: Opener, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class OldDriver:
        sqlite_version = "3.40.1"
        Error = driver.Error

    monkeypatch.setattr(store_module, "driver", OldDriver)
    with caplog.at_level(logging.WARNING):
        open_here()
    assert "WAL-reset bug" in caplog.text


def test_without_the_bundled_library_pythons_own_serves_with_a_warning(home: Home) -> None:
    code = (
        "import logging, sys\nsys.modules['pysqlite3'] = None\nlogging.basicConfig()\nimport sqlite3\n"
        "from pathlib import Path\nfrom homefire.config.schema import StoreSettings\n"
        "from homefire.home import Home\nfrom homefire.store.driver import driver\n"
        "from homefire.store.sqlite_version import has_wal_reset_bug\n"
        "from homefire.store.store import open_store\nfrom homefire.world import World\n"
        "from tests.store.samples import turn\nassert driver is sqlite3\n"
        "store = open_store(Home(Path(sys.argv[1])), StoreSettings(reserve_bytes=0), World())\n"
        "store.append_sync(turn('1'))\nassert store.check().is_sound\nassert store.turns.get('turn-1')\n"
        "print(has_wal_reset_bug(sqlite3.sqlite_version))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(home.root)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert (result.stdout.strip() == "True") == ("WAL-reset bug" in result.stderr)


@pytest.mark.parametrize(
    ("text", "version"),
    [("3", (3, 0, 0)), ("3.45", (3, 45, 0)), ("3.45.1", (3, 45, 1)), ("3.45.1.2", (3, 45, 1))],
)
def test_parts_that_are_missing_are_zero(text: str, version: tuple[int, int, int]) -> None:
    assert parse_version(text) == version
