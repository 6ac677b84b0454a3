from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from homefire.config.schema import StoreSettings
from homefire.home import Home
from homefire.store.store import Store, open_store
from homefire.versions.library import Library
from homefire.world import World


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home").create()


@pytest.fixture
def store(home: Home) -> Iterator[Store]:
    with open_store(home, StoreSettings(reserve_bytes=0), World()) as opened:
        yield opened


@pytest.fixture
def library(home: Home, store: Store) -> Library:
    return Library(home, store, store.world)
