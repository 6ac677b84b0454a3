"""A home with a store and a catalog, and small sound models to add, break and add again."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from homefire.catalog.catalog import Catalog
from homefire.config.schema import Settings
from homefire.home import Home
from homefire.store.store import Store, open_store
from homefire.world import World
from tests.engines.support import ember_folder


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    home.create()
    return home


@pytest.fixture
def store(home: Home) -> Iterator[Store]:
    with open_store(home, Settings().store, World()) as store:
        yield store


@pytest.fixture
def catalog(home: Home, store: Store) -> Catalog:
    return Catalog(home, store, Settings())


@pytest.fixture
def ember_copy(tmp_path: Path) -> Path:
    """The bundled model in a folder that a test may damage."""
    return Path(shutil.copytree(ember_folder(), tmp_path / "My Ember"))
