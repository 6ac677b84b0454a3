from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

from homefire.errors import BadModel, Conflict, CorruptData, ModelNotFound, StoreFull
from homefire.home import Home
from homefire.store.events import Event
from homefire.store.nouns.aliases import AliasMoved
from homefire.store.nouns.versions import VersionPublished, VersionRow
from homefire.store.store import Store
from homefire.versions import assembly
from homefire.versions import library as library_module
from homefire.versions.comparison import compare
from homefire.versions.library import Library
from homefire.versions.manifest import BaseEntry, Lineage
from tests.store.samples import dataset, example, moved, run
from tests.support.small_models import write_model


async def publish(
    library: Library, folder: Path, *, run_id: str | None = None, parent: str = "small"
) -> VersionRow:
    return await library.publish(
        folder,
        kind="full",
        base=BaseEntry(name="small", digest="sha256:00"),
        parent=parent,
        lineage=Lineage(run_id=run_id, example_ids=("e1",)),
        description="2 corrections",
        metrics={"loss": 0.25},
    )


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "manifest.json"}


async def test_a_version_is_a_readable_copy_with_a_manifest(
    library: Library, home: Home, tmp_path: Path
) -> None:
    source = write_model(tmp_path / "final", {"a": "b"})
    row = await publish(library, source)
    folder = library.folder("v001")
    assert row.version == "v001"
    assert folder.parent == home.versions
    assert bytes_of(folder) == bytes_of(source)
    manifest = library.manifest("v001")
    assert row.manifest_sha256 == hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()
    assert row.digest == manifest.digest
    assert set(manifest.tensors) == {
        "model.embed_tokens.weight",
        "model.layers.0.weight",
        "model.layers.1.weight",
    }
    report = await library.verify("v001")
    assert report.ok
    assert report.num_files == len(list(folder.iterdir()))
    assert report.num_blobs == len(list(library._store.blobs.all()))
    assert report.size_bytes == row.size_bytes > 0


async def test_two_versions_share_the_tensors_they_share(
    library: Library, store: Store, tmp_path: Path
) -> None:
    await publish(library, write_model(tmp_path / "one", {"a": "b"}))
    num_blobs = len(list(store.blobs.all()))
    await publish(library, write_model(tmp_path / "two", {"a": "b"}, layer=9.0))
    assert len(list(store.blobs.all())) == num_blobs + 2  # one tensor, one manifest
    found = await compare(library, store, a="v001", b="v002")
    assert {change.layer: change.num_changed for change in found.layers} == {
        "embed_tokens": 0, "layer 0": 1, "layer 1": 0,
    }  # fmt: skip
    assert found.metrics == {"loss": (0.25, 0.25)}


async def test_a_run_publishes_once(library: Library, store: Store, tmp_path: Path) -> None:
    source = write_model(tmp_path / "one", {})
    first = await publish(library, source, run_id=None)
    assert (await publish(library, source)).version == "v002"  # without a run: two publications
    assert first.version == "v001"


async def test_what_is_no_model_gets_no_version(library: Library, home: Home, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadModel):
        await publish(library, tmp_path / "empty")
    linked = write_model(tmp_path / "linked", {})
    (linked / "extra").symlink_to("/etc/hostname")
    with pytest.raises(BadModel):
        await publish(library, linked)
    assert library.all() == []
    assert list(home.versions.iterdir()) == []


# Every byte is checked


def all_files(home: Home, library: Library) -> list[Path]:
    folder = library.folder("v001")
    return sorted(path for root in (folder, home.blobs) for path in root.rglob("*") if path.is_file())


async def test_a_flipped_bit_in_any_file_is_found_and_repaired(
    library: Library, home: Home, tmp_path: Path
) -> None:
    await publish(library, write_model(tmp_path / "one", {"a": "b"}))
    for path in all_files(home, library):
        whole = path.read_bytes()
        path.chmod(0o600)
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        report = await library.verify("v001")
        assert not report.ok, path
        assert (await library.repair("v001")).ok, path
        assert path.read_bytes() == whole


async def test_a_missing_file_or_blob_is_found_and_repaired(
    library: Library, home: Home, tmp_path: Path
) -> None:
    await publish(library, write_model(tmp_path / "one", {"a": "b"}))
    for path in all_files(home, library):
        whole = path.read_bytes()
        path.unlink()
        assert not (await library.verify("v001")).ok
        assert (await library.repair("v001")).ok
        assert path.read_bytes() == whole


async def test_a_file_that_does_not_belong_there_is_found_and_removed(
    library: Library, tmp_path: Path
) -> None:
    await publish(library, write_model(tmp_path / "one", {"a": "b"}))
    stray = library.folder("v001") / "chat_template.json"
    stray.write_text("{}")
    assert [problem.what for problem in (await library.verify("v001")).problems] == ["unexpected"]
    await library.repair("v001")
    assert not stray.exists()


async def test_damage_on_both_sides_is_said_not_hidden(
    library: Library, store: Store, tmp_path: Path
) -> None:
    await publish(library, write_model(tmp_path / "one", {"a": "b"}))
    manifest = library.manifest("v001")
    blob = store.blobs.path(manifest.tensors["model.layers.0.weight"].sha256)
    blob.chmod(0o600)
    blob.write_bytes(b"12345678")
    weights = library.folder("v001") / "model.safetensors"
    weights.write_bytes(weights.read_bytes().replace(b"\x00\x00\x80?\x00\x00\x00@", b"87654321"))
    with pytest.raises(CorruptData):
        await library.repair("v001")
    assert len((await library.verify("v001")).problems) == 2


async def test_the_check_notices_when_hashing_is_left_out(
    library: Library, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted bug: a verify that compares sizes, as the old system did, passes a flipped bit."""
    await publish(library, write_model(tmp_path / "one", {"a": "b"}))
    path = library.folder("v001") / "config.json"
    path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:])
    monkeypatch.setattr(
        assembly, "hash_file", lambda file: library.manifest("v001").files.get(file.name, "?")
    )
    lax = [problem for problem in (await library.verify("v001")).problems if problem.name == "config.json"]
    monkeypatch.undo()
    strict = [problem for problem in (await library.verify("v001")).problems if problem.name == "config.json"]
    assert (len(lax), len(strict)) == (0, 1)


# Crashes


class Killed(BaseException):
    """The process ends here."""


POINTS = ["assemble", "inspect_folder", "replace_directory"]


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_kill_while_publishing_leaves_nothing_or_a_whole_version(
    library: Library,
    home: Home,
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    point: str,
    when: str,
) -> None:
    source = write_model(tmp_path / "one", {"a": "b"})
    real = getattr(library_module, point)

    def killed(*args: object, **kwargs: object) -> object:
        if when == "after":
            real(*args, **kwargs)
        raise Killed

    monkeypatch.setattr(library_module, point, killed)
    monkeypatch.setattr(
        shutil, "rmtree", lambda *_args, **_kwargs: None
    )  # a killed process tidies nothing up
    with pytest.raises(Killed):
        await publish(library, source)
    monkeypatch.undo()
    assert library.all() == []  # no event: no name
    again = Library(home, store, store.world)
    await again.recover()
    is_whole = point == "replace_directory" and when == "after"
    assert [row.version for row in again.all()] == (["v001"] if is_whole else [])
    assert all([(await again.verify(row.version)).ok for row in again.all()])
    assert len(list(home.versions.iterdir())) == len(again.all())
    assert await again.recover() == []


async def test_recovery_may_be_killed_and_done_again(
    library: Library, home: Home, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await publish(library, write_model(tmp_path / "one", {"a": "b"}))
    shutil.rmtree(library.folder("v001"))
    (home.versions / ".v002-20260101-000000.0123456789ab.new").mkdir()

    def killed(*_args: object, **_kwargs: object) -> None:
        raise Killed

    for point in ("assemble", "replace_directory"):
        monkeypatch.setattr(library_module, point, killed)
        with pytest.raises(Killed):
            await library.recover()
        monkeypatch.undo()
    await library.recover()
    assert (await library.verify("v001")).ok
    assert [path.name for path in home.versions.iterdir()] == [library.folder("v001").name]


async def test_a_full_disk_leaves_no_half_version(
    library: Library, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_args: object, **_kwargs: object) -> None:
        raise StoreFull("There is no room.")

    monkeypatch.setattr(library_module, "replace_directory", full)
    with pytest.raises(StoreFull):
        await publish(library, write_model(tmp_path / "one", {"a": "b"}))
    assert list(home.versions.iterdir()) == []
    monkeypatch.undo()
    assert (await publish(library, tmp_path / "one")).version == "v001"


async def test_an_event_before_the_folder_would_be_noticed(
    library: Library, home: Home, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted bug: the name is recorded before the folder is whole."""
    seen: list[bool] = []
    real = store.append

    async def watched(*events: Event) -> object:
        if isinstance(events[0], VersionPublished):
            seen.append(any(home.versions.glob(f"{events[0].version}-*/manifest.json")))
        return await real(*events)

    monkeypatch.setattr(store, "append", watched)
    await publish(library, write_model(tmp_path / "one", {"a": "b"}))

    monkeypatch.setattr(Library, "_put_folder", lambda *_args: None)
    await publish(library, write_model(tmp_path / "two", {"a": "c"}))
    assert seen == [True, False]


# Removal


async def test_a_removed_version_frees_no_number(library: Library, home: Home, tmp_path: Path) -> None:
    await publish(library, write_model(tmp_path / "one", {"a": "b"}))
    await library.delete("v001", who="me", why="not wanted")
    assert list(home.versions.iterdir()) == []
    with pytest.raises(ModelNotFound):
        library.get("v001")
    assert (await publish(library, write_model(tmp_path / "two", {"a": "c"}))).version == "v002"


async def test_what_is_live_cannot_be_removed(library: Library, store: Store, tmp_path: Path) -> None:
    await publish(library, write_model(tmp_path / "one", {"a": "b"}))
    await store.append(AliasMoved(alias="live", target="v001", previous=None, who="me", why="test"))
    with pytest.raises(Conflict):
        await library.delete("v001", who="me", why="x")
    assert library.folder("v001").is_dir()


@pytest.mark.parametrize("state", ["queued", "running", "paused"])
@pytest.mark.parametrize("is_leased", [False, True])
async def test_what_a_run_starts_from_cannot_be_removed_until_it_is_over(
    library: Library, store: Store, tmp_path: Path, state: Any, is_leased: bool
) -> None:
    """By the row of when it was queued, and by what its first lease really found live."""
    await publish(library, write_model(tmp_path / "one", {"a": "b"}))
    starts = msgspec.structs.replace(run("1", "1"), parent="ember" if is_leased else "v001")
    leased = msgspec.structs.replace(moved("1", "running", 1), parent="v001" if is_leased else None)
    await store.append(example("a"), dataset("1", "a"), starts, leased)
    if state != "running":
        await store.append(moved("1", state, 1))
    with pytest.raises(Conflict, match="starts from it"):
        await library.delete("v001", who="me", why="x")
    assert library.folder("v001").is_dir()
    if state == "queued":
        await store.append(moved("1", "running", 2))
    await store.append(moved("1", "stopped", 2 if state == "queued" else 1))
    await library.delete("v001", who="me", why="x")
