"""What the log says of corrections: which were refused, which a model knows, and how often they were tried."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from homefire.config.schema import Settings
from homefire.home import Home
from homefire.store.nouns.versions import GateJudged
from homefire.store.store import Store, open_store
from homefire.training.ledger import (
    CORRECTIONS,
    LOST_EARLIER,
    UNLEARNED,
    UNUSABLE,
    known_to,
    learned_by,
    num_earlier_tries,
    refused,
    teachable,
    trained_into,
    tries_of,
)
from homefire.world import World
from tests.store.samples import alias, dataset, example, model, moved, run, version
from tests.support.clock import HandClock


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(Home(tmp_path / "home"), Settings().store, World()) as opened:
        opened.append_sync(model(), alias("live", "ember"))
        yield opened


def train(
    store: Store, name: str, *examples: str, state: str = "done", version_name: str = "v001", **metrics: Any
) -> None:
    """A run of these examples that ended so with this version."""
    store.append_sync(dataset(name, *examples), run(name, name), moved(name, "running", 1))
    store.append_sync(version(version_name, run_id=f"run-{name}"), moved(name, state, 1, **metrics))


def judge(
    store: Store, name: str, *, right: dict[str, bool], lost: tuple[str, ...] = (), passed: bool = True
) -> None:
    results = {
        f"ex-{each}": {"right": is_right, "cause": None if is_right else "not_learned"}
        for each, is_right in right.items()
    }
    scores = {CORRECTIONS: results, LOST_EARLIER: [f"ex-{each}" for each in lost]}
    store.append_sync(GateJudged(version=name, run_id=None, passed=passed, reasons=(), scores=scores))


def test_a_refused_version_that_was_made_live_after_all_is_not_tried_again(store: Store) -> None:
    store.append_sync(example("a"))
    train(store, "1", "a", state="refused")
    assert [row.example_id for row in refused(store)] == ["ex-a"]
    store.append_sync(alias("live", "v001", previous="ember"))
    assert refused(store) == []


def test_a_model_knows_what_it_learned_and_bears_traces_of_all_it_was_trained_on(store: Store) -> None:
    store.append_sync(example("a"), example("b"))
    train(store, "1", "a", "b")
    judge(store, "v001", right={"a": True, "b": False})
    assert known_to(store, "v001") == {"ex-a": "v001"}
    assert [row.example_id for row in learned_by(store, "v001")] == ["ex-a"]
    assert trained_into(store, "v001") == {"ex-a": "v001", "ex-b": "v001"}
    assert [row.example_id for row in refused(store)] == ["ex-b"]


def test_what_was_not_learned_is_known_from_the_run_where_the_scores_were_erased(store: Store) -> None:
    store.append_sync(example("a"), example("b"))
    train(store, "1", "a", "b", **{UNLEARNED: ["ex-b"]})
    assert known_to(store, "v001") == {"ex-a": "v001"}


def test_a_correction_is_replayed_only_while_nothing_replaced_it(store: Store) -> None:
    """The later answer of the same person wins in replay and gate as it does in training."""
    store.append_sync(example("a", prompt="where?", answer="here"), example("b"))
    train(store, "1", "a", "b")
    store.append_sync(example("c", prompt="where?", answer="there"))
    assert [row.example_id for row in learned_by(store, "v001")] == ["ex-b"]


def test_tries_are_counted_by_who_was_to_blame(store: Store) -> None:
    store.append_sync(example("a"), example("b"))
    train(store, "1", "a", "b", state="refused")
    judge(store, "v001", right={"a": True, "b": False}, passed=False)
    assert (tries_of(store, "ex-a").num_refused, tries_of(store, "ex-a").num_blamed) == (1, 0)
    assert (tries_of(store, "ex-b").num_refused, tries_of(store, "ex-b").num_blamed) == (1, 1)
    train(store, "2", "a", state="refused", version_name="v002")
    assert (tries_of(store, "ex-a").num_refused, tries_of(store, "ex-a").num_blamed) == (2, 1)


def test_the_run_that_is_being_refused_counts_already(store: Store) -> None:
    store.append_sync(example("a"), dataset("1", "a"), run("1", "1"), moved("1", "running", 1))
    assert tries_of(store, "ex-a").num_refused == 0
    assert tries_of(store, "ex-a", refusing="run-1").num_refused == 1
    assert tries_of(store, "ex-a", refusing="run-1").num_blamed == 1


def test_what_the_newest_run_could_not_use_is_told_of_that_correction(store: Store) -> None:
    store.append_sync(example("a"), example("b"))
    train(store, "1", "a", "b", **{UNUSABLE: {"ex-a": "longer than the model reads"}})
    assert tries_of(store, "ex-a").unusable == "longer than the model reads"
    assert tries_of(store, "ex-b").unusable == ""
    train(store, "2", "a", "b", version_name="v002")
    assert tries_of(store, "ex-a").unusable == ""


def test_earlier_tries_are_runs_of_the_same_corrections_queued_before(tmp_path: Path) -> None:
    clock = HandClock()
    with open_store(Home(tmp_path / "home"), Settings().store, World(clock=clock)) as store:
        store.append_sync(model(), example("a"), example("b"), dataset("1", "a"), dataset("2", "b"))
        for name, data in (("1", "1"), ("other", "2"), ("2", "1"), ("3", "1")):
            clock.time_s += 1
            store.append_sync(run(name, data))
        tries = {row.run_id: num_earlier_tries(store, row) for row in store.runs.list()}
    assert tries == {"run-1": 0, "run-other": 0, "run-2": 1, "run-3": 2}


def test_what_two_people_answer_differently_is_taught_to_nobody(store: Store) -> None:
    from msgspec.structs import replace

    hers, his = example("a", prompt="where?", answer="here"), example("b", prompt="where?", answer="there")
    store.append_sync(hers, replace(his, principal="bo"), example("c"))
    assert [row.example_id for row in store.examples.pending()] == ["ex-c"]
    assert [row.example_id for row in store.examples.disputed()] == ["ex-a", "ex-b"]
    assert [row.example_id for row in teachable(store, store.examples.list())] == ["ex-c"]
