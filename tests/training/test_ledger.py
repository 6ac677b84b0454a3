"""What the log says of corrections: which were refused, and which are known after all."""

from __future__ import annotations

from pathlib import Path

from homefire.config.schema import Settings
from homefire.home import Home
from homefire.store.store import open_store
from homefire.training.ledger import refused
from homefire.world import World
from tests.store.samples import alias, dataset, example, model, moved, run, version


def test_a_refused_version_that_was_made_live_after_all_is_not_tried_again(tmp_path: Path) -> None:
    with open_store(Home(tmp_path / "home"), Settings().store, World()) as store:
        store.append_sync(model(), alias("live", "ember"))
        store.append_sync(example("a"), dataset("1", "a"), run("1", "1"), moved("1", "running", 1))
        store.append_sync(version("v001", run_id="run-1"), moved("1", "refused", 1))
        assert [row.example_id for row in refused(store)] == ["ex-a"]
        store.append_sync(alias("live", "v001", previous="ember"))
        assert refused(store) == []
