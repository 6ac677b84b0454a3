"""What somebody put among the files of a home stays, is named, and stops nothing."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from homefire.catalog.importing import is_being_added
from homefire.config.schema import StoreSettings
from homefire.home import Home
from homefire.store.store import Store, open_store
from homefire.versions.library import Library
from homefire.versions.manifest import BaseEntry, Lineage
from homefire.versions.strays import find_strays
from homefire.world import World
from tests.store.samples import model
from tests.support.small_models import write_model


async def publish(library: Library, folder: Path) -> None:
    await library.publish(
        folder, kind="full", base=BaseEntry(name="small", digest="sha256:00"), parent="small", lineage=Lineage()
    )  # fmt: skip


def copied_version(home: Home) -> Path:
    (version,) = home.versions.glob("v001-*")
    return Path(shutil.copytree(version, home.versions / "v001-my copy"))


def copied_under_a_new_number(home: Home) -> Path:
    (version,) = home.versions.glob("v001-*")
    return Path(shutil.copytree(version, home.versions / "v002-20260101-000000"))


def folder_with_our_kind_of_name(home: Home) -> Path:
    (home.versions / "v007-20260101-000000").mkdir()
    return home.versions / "v007-20260101-000000"


def file_among_versions(home: Home) -> Path:
    (home.versions / "v009-notes").write_text("mine")
    return home.versions / "v009-notes"


def link_among_versions(home: Home) -> Path:
    (home.versions / "v009-elsewhere").symlink_to("/nowhere")
    return home.versions / "v009-elsewhere"


def hidden_file_among_versions(home: Home) -> Path:
    (home.versions / ".directory").write_text("mine")
    return home.versions / ".directory"


def file_in_a_shard_of_blobs(home: Home) -> Path:
    (home.blobs / "notes.txt").write_text("mine")
    return home.blobs / "notes.txt"


def file_for_a_shard_of_blobs(home: Home) -> Path:
    name = next(f"{number:02x}" for number in range(256) if not (home.blobs / f"{number:02x}").exists())
    (home.blobs / name).write_text("mine")
    return home.blobs / name


def hidden_folder_among_blobs(home: Home) -> Path:
    (home.blobs / ".mine.tmp").mkdir()
    return home.blobs / ".mine.tmp"


def folder_among_bases(home: Home) -> Path:
    (home.base_models / "holidays").mkdir()
    return home.base_models / "holidays"


def file_among_runs(home: Home) -> Path:
    (home.runs / "notes.txt").write_text("mine")
    return home.runs / "notes.txt"


PUT_THERE = [
    copied_version, copied_under_a_new_number, folder_with_our_kind_of_name, file_among_versions,
    link_among_versions, hidden_file_among_versions, file_in_a_shard_of_blobs, file_for_a_shard_of_blobs,
    hidden_folder_among_blobs, folder_among_bases, file_among_runs,
]  # fmt: skip


@pytest.fixture
async def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home").create()
    with open_store(home, StoreSettings(reserve_bytes=0), World()) as store:
        await publish(Library(home, store, World()), write_model(tmp_path / "one", {"a": "b"}))
    return home


def opened(home: Home) -> Store:
    return open_store(home, StoreSettings(reserve_bytes=0), World())


@pytest.mark.parametrize("put", PUT_THERE)
async def test_what_somebody_put_there_stays_and_is_named(home: Home, put: Callable[[Home], Path]) -> None:
    path = put(home)
    with opened(home) as store:
        library = Library(home, store, World())
        for _ in range(2):
            assert await library.recover() == []
        assert path.exists() or path.is_symlink()
        assert (await library.verify("v001")).ok
        assert [stray.path for stray in find_strays(home, store, library)] == [path]
        assert store.check(full=True).is_sound


async def test_a_base_and_the_note_beside_one_that_is_being_added_are_no_strays(home: Home) -> None:
    folder = home.base_models / "small"
    folder.mkdir()
    (home.base_models / ".other.adding").write_text("{}")
    assert is_being_added(home.base_models / ".other.adding")
    with opened(home) as store:
        await store.append(model("small", path="models/base/small"))
        assert [stray.path for stray in find_strays(home, store, Library(home, store, World()))] == []


async def test_planted_bug_a_sweep_by_the_beginning_of_names_is_noticed(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it was once: whatever begins like ours goes."""

    def sweep(self: Library) -> list[str]:
        for path in self._home.versions.glob("v*-*"):
            if len(path.name) != len("v001-20260101-000000"):
                shutil.rmtree(path)
        return []

    monkeypatch.setattr(Library, "_sweep", sweep)
    with pytest.raises(AssertionError):
        await test_what_somebody_put_there_stays_and_is_named(home, copied_version)


@pytest.mark.parametrize("what", ["file", "link"])
async def test_what_is_in_the_place_of_a_version_is_moved_aside(home: Home, what: str) -> None:
    (version,) = home.versions.glob("v001-*")
    shutil.rmtree(version)
    if what == "file":
        version.write_text("mine")
    else:
        version.symlink_to("/nowhere")
    with opened(home) as store:
        library = Library(home, store, World())
        assert len(await library.recover()) == 1
        assert (await library.verify("v001")).ok
        (found,) = home.versions.glob("v001-*.found-*")
        assert found.is_symlink() or found.read_text() == "mine"
        assert [stray.path for stray in find_strays(home, store, library)] == [found]


async def test_what_does_not_belong_into_a_version_is_moved_beside_it(home: Home) -> None:
    (version,) = home.versions.glob("v001-*")
    (version / "notes.txt").write_text("mine")
    with opened(home) as store:
        library = Library(home, store, World())
        assert (await library.repair("v001")).ok
        (found,) = home.versions.glob("*notes.txt.found-*")
        assert found.read_text() == "mine"


async def test_a_removal_that_was_killed_is_finished_and_takes_nobodys_file(home: Home) -> None:
    (version,) = home.versions.glob("v001-*")
    rest = Path(shutil.copytree(version, home.root / "rest"))
    with opened(home) as store:
        library = Library(home, store, World())
        await library.delete("v001", who="me", why="room")
        next(rest.glob("*.safetensors")).unlink()
        rest.rename(version)
        (version / "notes.txt").write_text("mine")
        assert await library.recover() == []
        (version / "notes.txt").unlink()
        assert len(await library.recover()) == 1
        assert list(home.versions.iterdir()) == []


async def test_versions_that_an_older_database_does_not_know_are_named_and_taken_up(
    home: Home, tmp_path: Path
) -> None:
    older = tmp_path / "older.db"
    shutil.copy(home.database, older)
    with opened(home) as store:
        await publish(Library(home, store, World()), write_model(tmp_path / "two", {"a": "c"}))
    shutil.copy(older, home.database)
    with opened(home) as store:
        library = Library(home, store, World())
        (stray,) = find_strays(home, store, library)
        assert stray.is_ours
        assert stray.path.name.startswith("v002-")
        await library.recover()
        assert (await library.verify("v002")).ok
        assert find_strays(home, store, library) == []
