from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from homefire.errors import StoreError
from homefire.home import Home
from homefire.store import projections, schema
from homefire.store.driver import Connection
from homefire.store.sql import Table
from tests.store.backends import Backend, SQLiteBackend
from tests.store.conftest import Opener
from tests.store.samples import turn, whole_turn


def test_every_table_is_made_as_it_is_declared(backend: Backend, open_here: Opener) -> None:
    open_here().close()
    for table in projections.TABLES:
        assert backend.columns(table.name) == list(table.columns)


def test_a_home_of_a_newer_program_is_left_alone(backend: Backend, open_here: Opener) -> None:
    open_here().close()
    backend.execute("UPDATE schema_state SET log_revision = 99")
    before = backend.contents()
    with pytest.raises(StoreError, match="newer Homefire") as caught:
        open_here()
    assert caught.value.details["revision"] == 99
    assert backend.contents() == before


def test_a_home_of_a_newer_program_is_left_alone_byte_for_byte(
    home: Home, backend: Backend, open_here: Opener
) -> None:
    open_here().close()
    backend.execute("UPDATE schema_state SET log_revision = 99")
    before = home.database.read_bytes()
    with pytest.raises(StoreError, match="newer Homefire"):
        open_here()
    assert home.database.read_bytes() == before


def test_a_home_of_before_erasure_is_left_alone(backend: Backend, open_here: Opener) -> None:
    open_here().close()
    backend.execute("UPDATE schema_state SET log_revision = 1")
    before = backend.contents()
    with pytest.raises(StoreError, match="revision 1, of before Homefire could erase"):
        open_here()
    assert backend.contents() == before


def test_a_foreign_database_is_left_alone(home: Home, backend: Backend, open_here: Opener) -> None:
    home.create()
    backend.execute("CREATE TABLE recipes (name TEXT)")
    with pytest.raises(StoreError, match="not one of Homefire"):
        open_here()


def another_shape(monkeypatch: pytest.MonkeyPatch, *, fold: Any = None) -> None:
    """The program after a change of a table: `turns` has one more column."""
    changed = []
    for table in projections.TABLES:
        if table.name == "turns":
            table = Table(
                table.name,
                {**table.columns, "extra": "TEXT"},
                key=table.key,
                indexes=table.indexes,
                read_indexes=table.read_indexes,
            )
        changed.append(table)
    monkeypatch.setattr(projections, "TABLES", tuple(changed))
    if fold is not None:
        monkeypatch.setattr(projections, "apply", fold)


def test_tables_of_another_shape_are_made_anew_from_the_log_after_a_copy(
    home: Home, backend: Backend, open_here: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_here()
    store.append_sync(*whole_turn("1"))
    row = store.turns.get("turn-1")
    store.close()
    another_shape(monkeypatch)
    again = open_here()
    assert "extra" in backend.columns("turns")
    assert again.turns.get("turn-1") == row
    assert again.check().is_sound
    again.close()
    if isinstance(backend, SQLiteBackend):
        (copy,) = home.backups.iterdir()
        assert "extra" not in SQLiteBackend(copy).columns("turns")
        open_here()
        assert len(list(home.backups.iterdir())) == 1, "done once"


def test_a_table_that_is_gone_from_the_program_goes_from_the_database(
    backend: Backend, open_here: Opener
) -> None:
    open_here().close()
    backend.execute("CREATE TABLE old_projection (name TEXT)", "UPDATE schema_state SET projections = 'old'")
    open_here()
    assert backend.columns("old_projection") == []


def test_an_update_that_fails_half_way_changes_nothing(
    backend: Backend, open_here: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_here()
    store.append_sync(turn("1"))
    store.close()
    before = backend.contents()

    def power_cut(connection: Connection, event: object, entry: object) -> None:
        raise RuntimeError("power cut")

    with monkeypatch.context() as patch:
        another_shape(patch, fold=power_cut)
        with pytest.raises(RuntimeError, match="power cut"):
            open_here()
    assert backend.contents() == before
    assert open_here().check().is_sound


def test_a_step_of_the_log_runs_before_the_tables_are_made(
    backend: Backend, open_here: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_here()
    store.append_sync(turn("1"))
    store.close()
    monkeypatch.setattr(schema, "LOG_REVISION", 3)
    monkeypatch.setattr(
        schema,
        "LOG_STEPS",
        {2: lambda connection: connection.execute("ALTER TABLE fence ADD COLUMN note TEXT")},
    )
    again = open_here()
    assert "note" in backend.columns("fence")
    assert again.turns.get("turn-1") is not None
    if not isinstance(backend, SQLiteBackend):
        assert len(backend.rows("SELECT seq FROM events_before_revision_3")) == 1, "a copy of the log is kept"


def test_a_start_imports_nothing_heavy(home: Home) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom homefire.config.schema import StoreSettings\n"
        "from homefire.home import Home\nfrom homefire.store.store import open_store\n"
        "from homefire.world import World\n"
        "open_store(Home(Path(sys.argv[1])), StoreSettings(), World()).close()\n"
        "print([name for name in ('sqlalchemy', 'alembic', 'psycopg', 'numpy', 'fastapi') if name in sys.modules])"
    )
    for _ in range(2):
        result = subprocess.run(
            [sys.executable, "-c", code, str(home.root)], capture_output=True, text=True, check=True
        )
        assert result.stdout.strip() == "[]"
