from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

from homefire.config.schema import StoreSettings
from homefire.home import Home
from homefire.store.driver import Connection
from homefire.store.sqlite import SQLite
from homefire.store.store import Store, open_store
from homefire.world import World
from tests.store.backends import POSTGRESQL, SQLITE, SQLITE_ONLY, Backend, PostgresBackend, SQLiteBackend
from tests.store.samples import FaultyConnection
from tests.support.postgresql import PostgresServer, find_binaries

MISSING = "PostgreSQL is not installed (`make system-packages`)"


class Opener(Protocol):
    def __call__(self, *, world: World | None = None, **settings: Any) -> Store: ...


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Whatever needs a store is run on both databases, except what `SQLITE_ONLY` names."""
    if "backend" in metafunc.fixturenames:
        module = metafunc.module.__name__.rpartition(".")[2]
        only = module in SQLITE_ONLY or f"{module}::{metafunc.function.__name__}" in SQLITE_ONLY
        metafunc.parametrize("backend", [SQLITE] if only else [SQLITE, POSTGRESQL], indirect=True)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """One line that cannot be missed where half of the contract was not run."""
    if find_binaries() is None:
        terminalreporter.write_line(f"{MISSING}: the store's tests ran on SQLite only", yellow=True)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One server for all tests; each has a schema of its own in it."""
    binaries = find_binaries()
    if binaries is None:
        pytest.skip(MISSING)
    server = PostgresServer(binaries)
    yield server
    server.remove()


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture
def backend(request: pytest.FixtureRequest, home: Home) -> Iterator[Backend]:
    """The database of `home`."""
    if request.param == SQLITE:
        yield SQLiteBackend(home.database)
        return
    backend = PostgresBackend(request.getfixturevalue("postgres"))
    yield backend
    backend.remove()


@pytest.fixture
def open_here(home: Home, backend: Backend) -> Iterator[Opener]:
    """Opens the store of `home`; whatever is still open is closed at the end."""
    opened: list[Store] = []

    def open_it(*, world: World | None = None, **settings: Any) -> Store:
        values = {"reserve_bytes": 0, **backend.settings, **settings}
        store = open_store(home, StoreSettings.model_validate(values), world or World())
        opened.append(store)
        return store

    yield open_it
    for store in opened:
        store.close()


@pytest.fixture
def store(open_here: Opener) -> Store:
    return open_here()


@pytest.fixture
def faulty(monkeypatch: pytest.MonkeyPatch) -> list[FaultyConnection]:
    """Every writing connection to SQLite that is opened from now on, ready to fail."""
    made: list[FaultyConnection] = []
    real = SQLite.open_writer

    def open_faulty(self: SQLite) -> Connection:
        made.append(FaultyConnection(real(self)))
        return made[-1]  # type: ignore[return-value]

    monkeypatch.setattr(SQLite, "open_writer", open_faulty)
    return made
