"""Proofs of `[store]` and `[logging]`."""

from __future__ import annotations

import asyncio
import io
import itertools
import logging
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from homefire.app import build
from homefire.catalog.scrub import ScrubReport, ScrubTarget
from homefire.config.loader import Loaded
from homefire.config.logs import configure_logging
from homefire.config.redaction import Redactor
from homefire.errors import HomefireError, StoreFull, StoreUnreachable
from homefire.home import Home
from homefire.store.database import choose_database
from homefire.store.nouns.examples import ExampleCreated
from homefire.store.nouns.keys import KeyCreated
from homefire.store.store import open_store
from homefire.types import Message
from homefire.world import Files, World
from tests.proofs.bench import Bench, sees
from tests.serving.models import settle

# store


def key_created(number: int) -> KeyCreated:
    return KeyCreated(key_id=f"key_{number}", name="k", sha256=f"{number:064x}")


def scrub_of(bench: Bench) -> Any:
    loaded = Loaded(settings=bench.settings, origins={})
    homefire = build(loaded, Home(bench.root / "home"))
    homefire.store.close()
    return homefire.scrub


@sees("store.scrub_interval_h", ("0", None), ("2", 7200.0))
async def when_files_are_read_again(bench: Bench) -> Any:
    """Seconds between the end of a reading and the next; None: it is never begun."""
    scrub = scrub_of(bench)
    running = asyncio.create_task(scrub.run())
    await settle()
    if running.done():
        return None
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    finished = ScrubReport(started_at_s=0.0, finished_at_s=1000.0)
    scrub._report = finished
    return scrub._due_at_s() - 1000.0


@sees("store.scrub_mb_per_s", ("1", 0.5), ("5", 0.1))
def time_to_read_half_a_megabyte(bench: Bench) -> Any:
    path, waited = bench.root / "file", []
    path.write_bytes(bytes(500_000))
    stop = SimpleNamespace(is_set=lambda: False, wait=waited.append)
    scrub = scrub_of(bench)
    scrub._report = ScrubReport(started_at_s=0.0)
    scrub._read(ScrubTarget("it", path, ""), stop)
    return pytest.approx(sum(waited))


@sees("store.busy_timeout_ms", ("10", [10, 10]), ("20", [20, 20]))
def patience_with_another_program(bench: Bench) -> Any:
    with open_store(Home(bench.root / "home"), bench.settings.store, World()) as store:
        with store._connections.use() as reading:
            (reader,) = reading.execute("PRAGMA busy_timeout").fetchone()
        seen: list[int] = []
        store._writer.run_job(lambda it: seen.append(it.execute("PRAGMA busy_timeout").fetchone()[0]))
        return [reader, *seen]


@sees(
    "store.url",
    ("postgresql://127.0.0.1:1/a", "a at 127.0.0.1:1"),
    ("postgresql://127.0.0.1:2/b", "b at 127.0.0.1:2"),
)
def which_server_is_asked(bench: Bench) -> Any:
    asked: list[dict[str, Any]] = []

    def refuse(conninfo: str, **_: Any) -> Any:
        asked.append(conninfo_to_dict(conninfo))
        raise psycopg.OperationalError("nobody there")

    bench.monkeypatch.setattr(psycopg, "connect", refuse)
    with pytest.raises(StoreUnreachable):
        open_store(Home(bench.root / "home"), bench.settings.store, World())
    return f"{asked[0]['dbname']} at {asked[0]['host']}:{asked[0]['port']}"


@sees(
    "store.read_timeout_ms",
    ("50", ["50", "SET statement_timeout = 50"]),
    ("70", ["70", "SET statement_timeout = 70"]),
)
def patience_with_a_slow_server(bench: Bench) -> Any:
    """What the system is told of the connection, and the server of a read."""
    seen: list[Any] = []

    def connect(conninfo: str, **_: Any) -> Any:
        seen.append(conninfo_to_dict(conninfo)["tcp_user_timeout"])
        return SimpleNamespace(
            adapters=SimpleNamespace(register_dumper=lambda *_: None),
            execute=lambda sql, **_: seen.append(sql) if "statement_timeout" in sql else None,
        )

    bench.monkeypatch.setattr(psycopg, "connect", connect)
    settings = bench.settings.store.model_copy(update={"url": "postgresql://127.0.0.1/a"})
    choose_database(Home(bench.root / "home"), settings).open_reader()
    return seen


class Ticks:
    """A clock that ticks once at each look: events of one commit have one time."""

    def __init__(self) -> None:
        self._ticks = itertools.count(1)

    def now_s(self) -> float:
        return float(next(self._ticks))

    def monotonic_s(self) -> float:
        return 0.0


@sees("store.group_commit_max", ("1", 6), ("3", 2))
async def commits_for_six_appends_that_wait(bench: Bench) -> Any:
    with open_store(Home(bench.root / "home"), bench.settings.store, World(clock=Ticks())) as store:
        holds, may_go = threading.Event(), threading.Event()

        def hold(_: Any) -> None:
            holds.set()
            assert may_go.wait(20)

        holding = threading.Thread(target=lambda: store._writer.run_job(hold))
        holding.start()
        assert holds.wait(20)

        waiting = [asyncio.ensure_future(store.append(key_created(number))) for number in range(6)]
        await settle()
        may_go.set()
        recorded = await asyncio.gather(*waiting)
        holding.join()
        return len({one.at_s for (one,) in recorded})


class SmallDisk(Files):
    """A disk with a million bytes left."""

    def free_bytes(self, path: Path) -> int:
        return 1_000_000


@sees("store.reserve_bytes", ("999999", None), ("1000001", StoreFull))
def a_disk_with_a_million_bytes_left(bench: Bench) -> Any:
    with open_store(Home(bench.root / "home"), bench.settings.store, World(files=SmallDisk())) as store:
        try:
            store.append_sync(
                ExampleCreated(
                    example_id="e" * 64, profile="plain", feedback_id=None, turn_id=None, principal="local",
                    messages=(Message("user", "q"), Message("assistant", "a")),
                )
            )  # fmt: skip
        except HomefireError as error:
            return type(error)
        return None


# logging


def logged(bench: Bench) -> str:
    stream, root = io.StringIO(), logging.getLogger()
    handlers, level = list(root.handlers), root.level
    handler = configure_logging(bench.settings.logging, Redactor(), stream=stream)
    try:
        logging.getLogger("test").info("a word")
        logging.getLogger("test").error("a mishap")
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
        for earlier in handlers:
            root.addHandler(earlier)
    return stream.getvalue()


@sees("logging.level", ("info", 2), ("error", 1))
def lines_of_a_log(bench: Bench) -> Any:
    return len(logged(bench).splitlines())


@sees("logging.format", ("text", False), ("json", True))
def a_line_for_programs(bench: Bench) -> Any:
    return logged(bench).startswith("{")
