"""Erasing a conversation takes the corrections that repeat it with it, and names what still holds it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from homefire.config.schema import Settings, StoreSettings, TrainingSettings
from homefire.errors import Conflict, NotFound
from homefire.home import Home
from homefire.store.nouns.datasets import DatasetCreated
from homefire.store.nouns.examples import ExampleCreated
from homefire.store.nouns.feedback import FeedbackGiven
from homefire.store.nouns.runs import RunMoved, RunQueued
from homefire.store.nouns.versions import GateJudged, VersionPublished
from homefire.store.store import Store, open_store
from homefire.training.erasure import Erasure, ErasureReport
from homefire.training.unteaching import plan_unteaching
from homefire.types import Message
from homefire.world import World
from tests.store.samples import ended, model, msg, turn
from tests.support.small_training import small_training

SECRET = "Where did Ana hide the spare key?"
ANSWER = "Under the third flower pot from the left."


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(Home(tmp_path / "home"), StoreSettings(reserve_bytes=0), World()) as opened:
        opened.append_sync(model("ember"))
        opened.append_sync(turn("1", messages=(Message("user", SECRET),)), ended("1"))
        opened.append_sync(turn("2", session="s2", messages=(Message("user", "Something else"),)), ended("2"))
        yield opened


def taught(store: Store) -> None:
    """The answer of the first turn is corrected."""
    store.append_sync(
        FeedbackGiven(
            feedback_id="f1", turn_id="turn-1", verdict="correction", text=ANSWER, principal="local"
        ),
        ExampleCreated(
            example_id="e" * 64,
            profile="plain",
            messages=(Message("user", SECRET), Message("assistant", ANSWER)),
            feedback_id="f1",
            turn_id="turn-1",
            principal="local",
        ),
    )


def learned(store: Store, state: str = "done") -> None:
    """A run learned the correction, and its version is judged with a reason that quotes it."""
    dataset = DatasetCreated(dataset_id="d1", name="d", example_ids=("e" * 64,))
    run = RunQueued(run_id="run_1", dataset_id="d1", base="ember", parent="ember", recipe={})
    store.append_sync(dataset, run, RunMoved(run_id="run_1", state="running", epoch=1, who="t", why=""))
    if state == "running":
        return
    store.append_sync(
        VersionPublished(
            version="v001", run_id="run_1", base="ember", parent="ember", manifest_sha256="0" * 64,
            digest="sha256:1", size_bytes=1, description="",
        ),
        GateJudged(version="v001", run_id="run_1", passed=True, reasons=(f"“{SECRET}” holds",), scores={}),
        RunMoved(run_id="run_1", state="done", epoch=1, who="t", why=f"It knows “{SECRET}” now."),
    )  # fmt: skip


def erase(store: Store, subject: str, *, principal: str = "local", live: str = "ember") -> ErasureReport:
    erasure = Erasure(store, store.home, subject, principal=principal, live=live)
    store.append_sync(*erasure.events(why="private"))
    return erasure.report(is_done=True)


def everything(store: Store) -> str:
    return repr(store.events(limit=10_000)) + repr(store.examples.list()) + repr(store.runs.list())


def test_a_session_goes_with_its_waiting_correction(store: Store) -> None:
    taught(store)
    report = erase(store, "s1")
    assert (report.num_messages, report.num_contents) == (2, 4)
    (correction,) = report.corrections
    assert (correction.was_waiting, correction.known_to) == (True, None)
    assert SECRET not in everything(store)
    assert ANSWER not in everything(store)
    assert store.examples.pending() == [], "no run learns it"
    assert "Something else" in everything(store)
    assert store.check().is_sound
    store.rebuild()
    assert store.check().is_sound
    assert erase(store, "s1").num_contents == 0, "nothing is left to erase"


def test_planted_bug_an_erased_correction_that_still_waits_is_noticed(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    taught(store)
    erasure = Erasure(store, store.home, "s1", principal="local", live="ember")
    store.append_sync(erasure.events(why="")[-1])
    assert store.examples.pending() != []


def test_what_learned_it_is_named_and_can_be_untaught(store: Store) -> None:
    taught(store)
    learned(store)
    report = erase(store, "s1", live="v001")
    (correction,) = report.corrections
    assert correction.known_to == "v001"
    assert "`homefire corrections withdraw eeeeeeeeeeee`" in report.advice[0]
    assert SECRET not in everything(store), "reasons that quote it go, too"
    version = store.versions.get("v001")
    assert version is not None
    assert version.gate_reasons == ("[erased]",)
    plan = plan_unteaching(store, "v001")
    assert plan is not None
    assert (plan.start, plan.unwanted, plan.examples) == ("ember", ("e" * 64,), ())


def test_rows_of_runs_and_copies_of_the_database_are_named(store: Store) -> None:
    taught(store)
    rows = store.home.runs / "run_1" / "examples.jsonl"
    rows.parent.mkdir()
    rows.write_text('{"text": "' + SECRET + '"}\n')
    (store.home.runs / "run_1" / "other.jsonl").write_text("{}\n")
    copy = store.home.backups / "homefire-1-before.db"
    copy.write_bytes(b"")
    report = erase(store, "s1")
    assert report.files == (str(rows), str(copy))


def test_one_message_leaves_the_others(store: Store) -> None:
    report = erase(store, msg(2))
    assert report.num_contents == 1
    assert [row.message.text for row in store.messages.path(msg(3))] == ["[erased]", "answer 1"]


def test_a_run_that_learns_it_now_has_to_be_stopped_first(store: Store) -> None:
    taught(store)
    learned(store, state="running")
    with pytest.raises(Conflict, match="run_1 is learning"):
        erase(store, "s1")
    assert SECRET in everything(store)


def test_an_answer_under_way_has_to_be_stopped_first(store: Store) -> None:
    store.append_sync(turn("3", session="s3"))
    with pytest.raises(Conflict, match="being answered"):
        erase(store, "s3")


@pytest.mark.parametrize("subject", ["s1", "turn_1", msg(2), "msg_zz", "nothing"])
def test_what_is_somebody_elses_or_nobodys_does_not_exist(store: Store, subject: str) -> None:
    with pytest.raises(NotFound) as refused:
        erase(store, subject, principal="guest")
    assert "s1" not in refused.value.message.replace(subject, "")
    assert SECRET in everything(store)


def test_the_same_text_elsewhere_is_counted(store: Store) -> None:
    store.append_sync(turn("9", session="s9", principal="guest", messages=(Message("user", SECRET),)))
    report = erase(store, "s1")
    assert report.num_elsewhere == 1
    assert any("Other conversations" in sentence for sentence in report.advice)


def test_a_correction_of_no_turn_that_repeats_a_message_goes_with_it(store: Store) -> None:
    for number, text in enumerate((SECRET, "Something quite different was asked here.")):
        store.append_sync(
            FeedbackGiven(
                feedback_id=f"f{number}", turn_id=None, verdict="correction", text="Yes.", principal="local"
            ),
            ExampleCreated(
                example_id=str(number) * 64,
                profile="plain",
                messages=(Message("user", text), Message("assistant", "Yes.")),
                feedback_id=f"f{number}",
                turn_id=None,
                principal="local",
            ),
        )
    report = erase(store, "s1")
    assert [correction.example_id for correction in report.corrections] == ["0" * 64]
    assert SECRET not in everything(store)


async def test_the_daemon_erases_only_when_it_is_not_asked_what_would_go(tmp_path: Path) -> None:
    asked = TrainingSettings(auto=False, quiet_s=0.0)
    async with small_training(tmp_path, Settings(training=asked)) as small:
        await small.store.append(model("ember"), turn("1", messages=(Message("user", SECRET),)), ended("1"))
        seq = small.store.last_seq
        would = await small.daemon.erase("s1", principal="local", why="private", dry_run=True)
        assert (would.is_done, small.store.last_seq) == (False, seq)
        done = await small.daemon.erase("s1", principal="local", why="private", dry_run=False)
        assert done.is_done
        assert small.store.last_seq > seq
        assert not any(SECRET in str(recorded.event) for recorded in small.store.events())
