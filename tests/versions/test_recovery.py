"""Recovery of the library, killed at every single operation and begun anew (promise 5)."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from homefire.config.schema import StoreSettings
from homefire.home import Home
from homefire.store.events import Event
from homefire.store.nouns.versions import VersionPublished, VersionRemoved, VersionRow
from homefire.store.store import Store, open_store
from homefire.versions import library as library_module
from homefire.versions.assembly import assemble
from homefire.versions.library import Library
from homefire.versions.manifest import MANIFEST_NAME, BaseEntry, Lineage
from homefire.world import World
from tests.support.kills import Killed, KillSwitch
from tests.support.small_models import write_model

Plant = Callable[[pytest.MonkeyPatch], None]
PENDING = "pending"
UNFINISHED = ".v005-20260101-000000.0123456789ab.new"
SOMEBODYS = "v009-20260101-000000"


async def publish(library: Library, folder: Path) -> VersionRow:
    return await library.publish(
        folder,
        kind="full",
        base=BaseEntry(name="small", digest="sha256:00"),
        parent="small",
        lineage=Lineage(),
    )


@pytest.fixture
async def wreck(tmp_path: Path) -> Path:
    """A home with all at once that kills and a bad disk can leave: v001 lost its folder, v002 its manifest
    and a blob (the folder is the only copy), v003 was given up and its folder is still there, v004 is whole
    but has no event, one folder never got a name, and one was put there by somebody."""
    home = Home(tmp_path / "wreck").create()
    with open_store(home, StoreSettings(reserve_bytes=0), World()) as store:
        library = Library(home, store, store.world)
        for number in range(1, 4):
            await publish(library, write_model(tmp_path / str(number), {"n": f"answer {number}"}))
        await store.append(VersionRemoved(version="v003", who="me", why="room"))
        with pytest.MonkeyPatch.context() as patch:

            async def killed(self: Store, *events: Event) -> object:
                raise Killed

            patch.setattr(Store, "append", killed)
            with pytest.raises(Killed):
                await publish(library, write_model(tmp_path / "4", {"n": "answer 4"}))
        shutil.rmtree(library.folder("v001"))
        (library.folder("v002") / MANIFEST_NAME).unlink()
        blob = store.blobs.path(library.manifest("v002").files["answers.json"])
        blob.chmod(0o600)
        blob.write_bytes(b"{}")
    for name in (UNFINISHED, SOMEBODYS):
        (home.versions / name).mkdir()
        (home.versions / name / "config.json").write_text("{")
    (home.root / PENDING).write_text(next(home.versions.glob("v004-*")).name)
    return home.root


async def faults(home: Home, store: Store) -> list[str]:
    """What is not as recovery promises."""
    library, found = Library(home, store, store.world), []
    if again := await library.recover():
        found.append(f"recovery is not over when it is over: {again}")
    published = [recorded.event for recorded in store.events()]
    names = [event.version for event in published if isinstance(event, VersionPublished)]
    if names != ["v001", "v002", "v003", "v004"]:
        found.append(f"the log publishes {names}")
    folders = sorted(path.name.partition("-")[0] for path in home.versions.iterdir())
    if folders != ["v001", "v002", "v004", "v009"]:
        found.append(f"the folders are {folders}")
    for row in library.all():
        problems = (await library.verify(row.version)).problems
        if any(problem.where == "folder" or row.version != "v002" for problem in problems):
            found.append(f"{row.version}: {', '.join(map(str, problems))}")
    return found


async def faults_after_kills(wreck: Path, *, plant: Plant | None = None) -> list[str]:
    """Recovers the wreck as often as recovery has operations, killed at each in turn and then left to end;
    what is not right afterwards, up to the first kill that shows it."""
    for number in itertools.count():
        home = Home(Path(shutil.copytree(wreck, wreck.with_name(f"kill-{number}"))))
        with (
            open_store(home, StoreSettings(reserve_bytes=0), World()) as store,
            pytest.MonkeyPatch.context() as planted,
        ):
            if plant is not None:
                plant(planted)
            switch = KillSwitch(number)
            with pytest.MonkeyPatch.context() as patch:
                switch.watch_files(patch)
                watch_appends(patch, switch)
                try:
                    await Library(home, store, store.world).recover()
                except Killed:
                    assert switch.has_killed
            await Library(home, store, store.world).recover()
            found = [f"killed at {number}: {fault}" for fault in await faults(home, store)]
        if found or not switch.has_killed:
            assert found or number > 20, "there was less to kill than a recovery has to do"
            return found
    raise AssertionError("recovery has no end")


def watch_appends(patch: pytest.MonkeyPatch, switch: KillSwitch) -> None:
    """Kills before an event is recorded, and right after it."""
    real = Store.append

    async def watched(self: Store, *events: Event) -> Any:
        switch.point("append")
        recorded = await real(self, *events)
        switch.point("appended")
        return recorded

    patch.setattr(Store, "append", watched)


async def test_recovery_killed_at_any_operation_and_done_again_ends_the_same(wreck: Path) -> None:
    assert await faults_after_kills(wreck) == []


def rebuild_in_place(patch: pytest.MonkeyPatch) -> None:
    """A folder that is made anew is filled under its own name."""
    real = Library._restore_folder

    def restore(self: Any, row: VersionRow) -> list[str]:
        manifest = self._manifest(row)
        folder = self._home.versions / manifest.folder_name
        if folder.is_dir():
            return real(self, row)
        assemble(manifest, self._store.blobs, folder, world=self._world)
        return [f"Rebuilt the folder of {row.version}."]

    patch.setattr(Library, "_restore_folder", restore)


def remember_in_a_file(patch: pytest.MonkeyPatch) -> None:
    """What is to be published stands in a file, not in the log, and is crossed out afterwards."""
    real = Library.recover

    async def recover(self: Any) -> list[str]:
        pending = self._home.root / PENDING
        if pending.exists():
            manifest = self._whole_manifest(self._home.versions / pending.read_text())
            name = self._store.versions.next_name()
            await self._store.append(
                library_module._published(msgspec.structs.replace(manifest, version=name))
            )
            pending.unlink()
        return await real(self)

    patch.setattr(Library, "recover", recover)


def remove_what_is_half(patch: pytest.MonkeyPatch) -> None:
    """A folder without a manifest goes, whatever the log says of it."""
    real = Library._settle

    async def settle(self: Any, folder: Path) -> list[str]:
        if (folder / MANIFEST_NAME).exists():
            return await real(self, folder)
        shutil.rmtree(folder)
        return [f"Removed {folder.name}."]

    patch.setattr(Library, "_settle", settle)


@pytest.mark.parametrize(
    ("plant", "words"),
    [
        (rebuild_in_place, "v001: folder"),
        (remember_in_a_file, "publishes"),
        (remove_what_is_half, "the folders are"),
    ],
)
async def test_planted_bug_a_recovery_that_cannot_be_done_twice_is_noticed(
    wreck: Path, plant: Plant, words: str
) -> None:
    found = await faults_after_kills(wreck, plant=plant)
    assert any(words in fault for fault in found), found
