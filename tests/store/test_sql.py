"""What is written from a table's columns is what both databases understand."""

from __future__ import annotations

import pytest

from homefire.errors import HomefireError, NotFound
from homefire.store.driver import driver
from homefire.store.sql import Statement, Table
from homefire.store.store import Store
from tests.store.samples import version

PETS = Table(
    "pets",
    {"name": "TEXT NOT NULL", "kind": "TEXT NOT NULL", "age": "INTEGER"},
    key=("name",),
    indexes={"pets_by_kind": "(kind, age)"},
    read_indexes={"old_pets": "(age) WHERE age > 9"},
)


def test_rows_are_inserted_and_replaced_where_they_agree() -> None:
    connection = driver.connect(":memory:")
    for definition in PETS.definitions():
        connection.execute(definition)
    put = PETS.put(change=("age",), where="pets.kind = excluded.kind")
    everything = Statement("SELECT name, kind, age FROM pets ORDER BY name")
    PETS.insert().run_many(connection, [{"name": "Rex", "kind": "dog", "age": 3}])
    assert put.run(connection, {"name": "Rex", "kind": "dog", "age": 4}) == 1
    assert put.run(connection, {"name": "Rex", "kind": "cat", "age": 5}) == 0
    assert put.run(connection, {"name": "Tom", "kind": "cat", "age": None}) == 1
    assert everything.all(connection) == [("Rex", "dog", 4), ("Tom", "cat", None)]
    with pytest.raises(driver.IntegrityError):
        PETS.insert().run(connection, {"name": "Tom", "kind": "cat", "age": 1})
    connection.close()


def test_the_first_row_without_parameters_and_with() -> None:
    connection = driver.connect(":memory:")
    assert Statement("SELECT 1").one(connection) == (1,)
    assert Statement("SELECT :a, :b").one(connection, {"a": 1, "b": "x"}) == (1, "x")
    connection.close()


def test_a_version_of_a_run_that_does_not_exist_is_refused(store: Store) -> None:
    error: type[HomefireError] = NotFound
    with pytest.raises(error, match="There is no run"):
        store.append_sync(version("v001", run_id="run-nothing"))
