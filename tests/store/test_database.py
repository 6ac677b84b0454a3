"""Many rows are put into a table as they are, however many there are."""

from __future__ import annotations

from pathlib import Path

import pytest

from homefire.config.schema import StoreSettings
from homefire.home import Home
from homefire.store import database as database_module
from homefire.store.database import choose_database
from homefire.store.nouns.keys import NOUN
from homefire.store.store import open_store
from homefire.world import World

SETTINGS = StoreSettings(reserve_bytes=0)


@pytest.mark.parametrize("num_rows", [0, 1, 3, 4, 7])
def test_rows_are_loaded_whole_and_in_the_order_of_the_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, num_rows: int
) -> None:
    monkeypatch.setattr(database_module, "LOADED_ROWS", 3)
    home = Home(tmp_path / "home")
    with open_store(home, SETTINGS, World()):
        pass
    (table,) = NOUN.tables
    rows = [
        (f"k{number}", f"name {number}", f"{number:064x}", 1.5 + number, None) for number in range(num_rows)
    ]
    database = choose_database(home, SETTINGS)
    connection = database.open_writer()
    database.begin(connection)
    database.load(connection, table, iter(rows))
    database.commit(connection)
    connection.close()
    with open_store(home, SETTINGS, World()) as store:
        found = [
            (row.key_id, row.name, row.sha256, row.created_at_s, row.revoked_at_s)
            for row in store.keys.list()
        ]
    assert found == rows
