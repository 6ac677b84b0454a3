"""Everything that is kept is read again from time to time, and what flipped is found and said."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from homefire.catalog import scrub as scrub_module
from homefire.catalog.catalog import Catalog
from homefire.catalog.scrub import Scrub, ScrubTarget, read_report
from homefire.engines.base import GgufSource
from homefire.errors import CorruptData
from homefire.home import Home
from homefire.machine.hashing import FileVerifier, hash_file
from homefire.store.store import Store
from homefire.world import World
from tests.support.clock import HandClock

FAST = 1e12


def files(folder: Path, number: int = 3) -> list[ScrubTarget]:
    folder.mkdir(exist_ok=True)
    for index in range(number):
        (folder / f"{index}").write_bytes(bytes([index]) * 1000)
    return [
        ScrubTarget(f"m: {path.name}", path, f"sha256:{hash_file(path)}") for path in sorted(folder.iterdir())
    ]


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o600)
    path.write_bytes(data)


def scrub_of(
    targets: list[ScrubTarget],
    root: Path,
    *,
    clock: HandClock | None = None,
    interval_s: float = 100.0,
    bytes_per_s: float = FAST,
    verifier: FileVerifier | None = None,
) -> Scrub:
    return Scrub(
        lambda: list(targets),
        state_file=root / "scrub.json",
        verifier=verifier or FileVerifier(),
        interval_s=interval_s,
        bytes_per_s=bytes_per_s,
        world=World(clock=clock or HandClock()),
    )


async def until(condition: object) -> None:
    assert callable(condition)
    for _ in range(2000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it never came to be so")


async def ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_every_file_is_read_and_what_flipped_is_named(tmp_path: Path) -> None:
    targets = files(tmp_path / "files")
    scrub = scrub_of(targets, tmp_path)
    assert (await scrub.read_all()).damaged == ()
    flip(targets[1].path)
    report = await scrub.read_all()
    assert (report.damaged, report.num_files, report.num_bytes) == (("m: 1",), 3, 3000)
    assert report.finished_at_s is not None
    assert read_report(tmp_path / "scrub.json") == report
    assert scrub.status().report == report


async def test_a_damaged_file_is_hashed_again_before_its_next_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The memory of the verifier would vouch for it: no time of the file changed."""
    (target,) = files(tmp_path / "files", 1)
    verifier = FileVerifier()
    verifier.note(target.path, target.sha256)
    flip(target.path)
    verifier._verified[target.path] = (target.sha256[7:], scrub_signature(target.path))
    verifier.check(target.path, target.sha256)
    await scrub_of([target], tmp_path, verifier=verifier).read_all()
    with pytest.raises(CorruptData):
        verifier.check(target.path, target.sha256)


def scrub_signature(path: Path) -> tuple[int, int, int, int]:
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


async def test_passes_come_on_schedule_and_survive_restarts(tmp_path: Path) -> None:
    clock, targets = HandClock(), files(tmp_path / "files")
    first = scrub_of(targets, tmp_path, clock=clock)
    running = asyncio.create_task(first.run())
    await until(lambda: (kept := read_report(tmp_path / "scrub.json")) is not None and kept.finished_at_s)
    await ended(running)
    clock.time_s += 99
    second = scrub_of(targets, tmp_path, clock=clock)
    assert second._due_at_s() > clock.now_s()
    clock.time_s += 2
    running = asyncio.create_task(second.run())
    await until(lambda: second.status().report.finished_at_s == clock.now_s())  # type: ignore[union-attr]
    await ended(running)
    await scrub_of(targets, tmp_path, interval_s=0).run()  # switched off: it ends at once


async def test_an_interrupted_pass_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    targets = files(tmp_path / "files", 4)
    scrub, stop, read = scrub_of(targets, tmp_path), threading.Event(), []
    usual = Scrub._read

    def reading(self: Scrub, target: ScrubTarget, ended: threading.Event) -> None:
        read.append(target.name)
        usual(self, target, ended)
        if len(read) == 2:
            stop.set()

    monkeypatch.setattr(Scrub, "_read", reading)
    scrub._read_all(stop)
    assert scrub.status().report.finished_at_s is None  # type: ignore[union-attr]
    report = await scrub_of(targets, tmp_path).read_all()
    assert read == [target.name for target in targets]
    assert (report.num_files, report.position) == (4, "")


async def test_a_failing_scrub_is_said_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(scrub_module, "RETRY_S", 0.01)
    calls = []

    def targets() -> Iterator[ScrubTarget]:
        calls.append(1)
        if len(calls) == 1:
            raise ValueError("no list")
        yield from ()

    scrub = Scrub(
        targets,
        state_file=tmp_path / "s",
        verifier=FileVerifier(),
        interval_s=9,
        bytes_per_s=1,
        world=World(),
    )
    running = asyncio.create_task(scrub.run())
    await until(lambda: scrub.status().failure is not None)
    assert "no list" in str(scrub.status().failure)
    assert "tried again" in caplog.text
    await until(lambda: scrub.status().failure is None)
    await ended(running)


async def test_it_reads_slowly_off_the_loop_and_ends_at_once(tmp_path: Path) -> None:
    targets = files(tmp_path / "files")
    scrub = scrub_of(targets, tmp_path, bytes_per_s=1.0)  # 1000 s for each file
    running = asyncio.create_task(scrub.run())
    await until(lambda: scrub.status().is_running)
    assert scrub.status().report is None or scrub.status().report.num_files == 0
    await ended(running)
    assert not scrub.status().is_running
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("scrub")]


async def test_models_converted_files_and_blobs_are_read(catalog: Catalog, home: Home, store: Store) -> None:
    await catalog.ensure_bundled()
    spec = await catalog.spec(catalog.resolve("ember").model)
    assert isinstance(spec.source, GgufSource)
    digest = store.blobs.put_bytes(b"a blob")
    damaged = [
        home.base_models / "ember" / "model.safetensors",
        Path(spec.source.path),
        store.blobs.path(digest),
    ]
    targets = list(catalog.scrub_targets())
    assert set(damaged) <= {target.path for target in targets}
    for path in damaged:
        flip(path)
    report = await scrub_of(targets, home.root).read_all()
    names = {
        "ember: model.safetensors",
        f"cache: {damaged[1].name}",
        f"blob: {digest.removeprefix('sha256:')}",
    }
    assert set(report.damaged) == names
