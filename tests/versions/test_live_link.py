"""The link `models/live` leads to a model at every moment, also while it is replaced (promise 3)."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from homefire.catalog.models import ModelInfo
from homefire.home import Home
from homefire.store.nouns.versions import GateJudged
from homefire.store.store import Store
from homefire.versions.library import Library
from homefire.versions.manifest import BaseEntry, Lineage
from homefire.versions.promotion import Promotion
from tests.support.small_models import SmallCatalog, write_model

NUM_MOVES = 200


@pytest.fixture
async def promotion(home: Home, store: Store, library: Library, tmp_path: Path) -> Promotion:
    """Two versions that passed their gate; the first is live."""
    catalog = SmallCatalog(store)
    catalog.add_base("small", write_model(tmp_path / "base", {}))

    async def swap_to(model: ModelInfo) -> None:
        """Every model is ready at once."""

    for number in (1, 2):
        folder = write_model(tmp_path / str(number), {"n": str(number)})
        row = await library.publish(
            folder,
            kind="full",
            base=BaseEntry(name="small", digest="sha256:00"),
            parent="small",
            lineage=Lineage(),
        )
        await store.append(GateJudged(version=row.version, run_id=None, passed=True, reasons=(), scores={}))
    promotion = Promotion(home=home, store=store, catalog=catalog, swap_to=swap_to, world=store.world)
    await promotion.promote("v001", who="me", why="first")
    return promotion


class Watcher(threading.Thread):
    """Follows the link in a tight loop and reads what it leads to."""

    def __init__(self, link: Path) -> None:
        super().__init__(name="watcher")
        self._link = link
        self._is_over = threading.Event()
        self.missing: list[str] = []
        self.seen: set[str] = set()
        self.num_looks = 0

    def run(self) -> None:
        while not self._is_over.is_set():
            self.num_looks += 1
            try:
                self.seen.add(self._link.readlink().name)
                (self._link / "config.json").read_bytes()
            except OSError as error:
                self.missing.append(str(error))

    def end(self) -> None:
        self._is_over.set()
        self.join()


@contextmanager
def watched(link: Path) -> Iterator[Watcher]:
    """Looks on as often as the machine allows: the threads take turns after a microsecond."""
    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    watcher = Watcher(link)
    watcher.start()
    try:
        yield watcher
    finally:
        watcher.end()
        sys.setswitchinterval(interval_s)


async def move_to_and_fro(promotion: Promotion, is_over: Callable[[], bool]) -> None:
    """Promotions and rollbacks, in turn."""
    for _ in range(NUM_MOVES // 2):
        await promotion.promote("v002", who="me", why="better")
        await promotion.rollback(who="me", why="worse")
        if is_over():
            return


async def test_the_link_leads_to_a_model_at_every_moment(promotion: Promotion, home: Home) -> None:
    with watched(home.live_link) as watcher:
        await move_to_and_fro(promotion, lambda: False)
    assert watcher.missing == []
    assert {name.partition("-")[0] for name in watcher.seen} == {"v001", "v002"}
    assert watcher.num_looks > NUM_MOVES


async def test_planted_bug_a_link_removed_before_it_is_made_anew_is_noticed(
    promotion: Promotion, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    def careless(self: Any, folder: Path) -> None:
        home.live_link.unlink()
        home.live_link.symlink_to(folder)

    monkeypatch.setattr(Promotion, "_link", careless)
    with watched(home.live_link) as watcher:
        await move_to_and_fro(promotion, lambda: bool(watcher.missing))
    assert watcher.missing
