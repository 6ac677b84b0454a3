"""A house for each test, and one behind a socket for those that use official clients."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.api.house import House, close_house, open_house, served


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    house = await open_house(tmp_path)
    yield house
    await close_house(house)


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, House]]:
    with served(tmp_path_factory.mktemp("live")) as found:
        yield found
