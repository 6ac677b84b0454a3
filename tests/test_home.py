from __future__ import annotations

from pathlib import Path

import pytest

from homefire.errors import StoreError
from homefire.home import Home


def test_every_place_is_made_private(tmp_path: Path) -> None:
    home = Home(tmp_path / "deep" / "home").create()
    home.create()
    places = [home.root, *(path for path in home.root.rglob("*"))]
    assert len(places) == 10
    assert {path.stat().st_mode & 0o777 for path in places} == {0o700}


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "blobs").touch()
    with pytest.raises(StoreError, match="a file is in the way") as caught:
        Home(tmp_path).create()
    assert caught.value.details["path"] == str(tmp_path / "blobs")


def test_a_home_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot be made"):
        Home(tmp_path / "file" / "home").create()
