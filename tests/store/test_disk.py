"""A truly full and a truly read-only file system (a small tmpfs): promise 9."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from homefire.config.schema import StoreSettings
from homefire.errors import StoreFull, StoreReadOnly
from homefire.home import Home
from homefire.store.store import Store, open_store
from homefire.world import World
from tests.store.samples import turn

SIZE_BYTES = 3 << 20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    mount, umount = shutil.which("mount"), shutil.which("umount")
    place = tmp_path / "disk"
    place.mkdir()
    if mount is None or umount is None:
        pytest.skip("mount is not installed")
    result = subprocess.run(
        [mount, "-t", "tmpfs", "-o", f"size={SIZE_BYTES}", "none", str(place)], capture_output=True, text=True
    )
    if result.returncode != 0:
        pytest.skip(f"a file system cannot be mounted here: {result.stderr.strip()}")
    yield place
    subprocess.run([umount, str(place)], check=True)


def fill_up(store: Store, acknowledged: list[int]) -> None:
    for number in range(1000):
        store.append_sync(turn(str(number), session=f"s{number}", route_reason="x" * 20_000))
        acknowledged.append(number)


def test_a_full_disk_loses_nothing_and_recovers_by_itself(small_disk: Path) -> None:
    home = Home(small_disk / "home")
    store = open_store(home, StoreSettings(reserve_bytes=0), World())
    filler = small_disk / "filler"
    filler.write_bytes(bytes(1 << 20))
    acknowledged: list[int] = []
    with pytest.raises(StoreFull):
        fill_up(store, acknowledged)
    assert acknowledged
    with pytest.raises(StoreFull):
        store.blobs.put_bytes(bytes(2 << 20))
    assert store.failure is None
    assert store.turns.get(f"turn-{acknowledged[-1]}") is not None, "reads go on"
    filler.unlink()
    store.append_sync(turn("after", session="after"))
    assert store.blobs.put_bytes(b"one")
    store.close()
    again = open_store(home, StoreSettings(reserve_bytes=0), World())
    assert [number for number in acknowledged if again.turns.get(f"turn-{number}") is None] == []
    assert again.check(full=True).is_sound
    again.close()


def test_a_start_on_a_full_disk_says_so_and_works_when_there_is_room(small_disk: Path) -> None:
    home = Home(small_disk / "home")
    store = open_store(home, StoreSettings(reserve_bytes=0), World())
    store.append_sync(turn("1"))
    store.close()
    filler = small_disk / "filler"
    with pytest.raises(OSError, match="No space"):
        filler.write_bytes(bytes(SIZE_BYTES))
    with pytest.raises(StoreFull):
        open_store(home, StoreSettings(reserve_bytes=0), World())
    filler.unlink()
    again = open_store(home, StoreSettings(reserve_bytes=0), World())
    assert again.turns.get("turn-1") is not None
    again.close()


def test_the_reserve_pauses_writers_before_the_disk_is_full(small_disk: Path) -> None:
    store = open_store(Home(small_disk / "home"), StoreSettings(reserve_bytes=SIZE_BYTES), World())
    with pytest.raises(StoreFull):
        store.append_sync(turn("1"))
    store.close()


def test_a_read_only_home_is_named(small_disk: Path) -> None:
    home = Home(small_disk / "home")
    open_store(home, StoreSettings(reserve_bytes=0), World()).close()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(StoreReadOnly, match="cannot be written"):
        open_store(home, StoreSettings(reserve_bytes=0), World())
    with pytest.raises(StoreReadOnly, match="cannot be written"):
        Home(small_disk / "another").create()
