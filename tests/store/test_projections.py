from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homefire.config.schema import StoreSettings
from homefire.errors import Conflict, Forbidden, HomefireError, ModelNotFound, NotFound
from homefire.home import Home
from homefire.store.digest import chain_all, root
from homefire.store.events import Event
from homefire.store.nouns.examples import CorrectionWithdrawn
from homefire.store.nouns.feedback import FeedbackGiven
from homefire.store.nouns.keys import KeyCreated, KeyRevoked
from homefire.store.nouns.models import ModelRemoved
from homefire.store.nouns.versions import GateJudged, VersionRemoved
from homefire.store.projections import FOLDS
from homefire.store.run_states import ALLOWED_MOVES
from homefire.store.store import Store, open_store
from homefire.types import Message
from homefire.world import World
from tests.store.samples import (
    alias,
    dataset,
    ended,
    example,
    model,
    moved,
    msg,
    run,
    turn,
    version,
    whole_turn,
)


def feedback(name: str, turn_id: str | None, verdict: str = "good") -> FeedbackGiven:
    return FeedbackGiven(
        feedback_id=f"fb-{name}",
        turn_id=turn_id,
        verdict=verdict,  # type: ignore[arg-type]
        text=None,
        principal="local",
    )


def removed(name: str) -> VersionRemoved:
    return VersionRemoved(version=name, who="test", why="room")


def withdrawn(name: str) -> CorrectionWithdrawn:
    return CorrectionWithdrawn(example_id=f"ex-{name}", who="test", why="a slip")


def taught(store: Store, *names: str) -> list[str]:
    return [row.example_id.removeprefix("ex-") for row in store.examples.pending()]


def test_every_kind_of_event_has_a_fold() -> None:
    assert set(FOLDS) == set(Event.__args__)


# Turns, messages and sessions


def test_a_turn_makes_session_messages_and_turn(store: Store) -> None:
    recorded, _ = store.append_sync(*whole_turn("1"))
    session = store.sessions.get("s1")
    assert session is not None
    assert (session.tip_message_id, session.num_turns) == (msg(2), 1)
    assert (session.title, session.key, session.created_at_s) == ("question 1", "key-s1", recorded.at_s)
    assert [(row.role, row.content) for row in store.messages.path(msg(2))] == [
        ("user", "question 1"),
        ("assistant", "answer 1"),
    ]
    row = store.turns.get("turn-1")
    assert row is not None
    assert (row.seq, row.user_message_id, row.answer_message_id, row.verdict) == (1, msg(1), msg(2), None)
    for event in whole_turn("1"):
        for name in event.__struct_fields__:
            if name not in ("messages", "answer"):
                assert getattr(row, name) == getattr(event, name), name
    assert store.turns.get("turn-1") == row
    assert store.turns.list("s1") == [row]


def test_turns_continue_and_branch(store: Store) -> None:
    store.append_sync(*whole_turn("1"))
    store.append_sync(*whole_turn("2", parent_message_id=msg(2)))
    store.append_sync(*whole_turn("3", parent_message_id=msg(3), messages=()))
    assert [row.message_id for row in store.messages.path(msg(4))] == [msg(1), msg(2), msg(3), msg(4)]
    assert [row.message_id for row in store.messages.path(msg(6))] == [msg(1), msg(2), msg(3), msg(6)]
    regenerated = store.turns.get("turn-3")
    assert regenerated is not None
    assert regenerated.user_message_id == msg(3)
    session = store.sessions.get("s1")
    assert session is not None
    assert (session.num_turns, session.tip_message_id, session.title) == (3, msg(6), "question 1")

    assert store.messages.path("nothing") == []
    said = [row.message for row in store.messages.path(msg(4))]
    found = store.messages.by_digest("local", chain_all(root("local"), said)[-1])
    assert found is not None
    assert found.message_id == msg(4)


@pytest.mark.parametrize("outcome", ["failed", "cancelled"])
def test_a_turn_without_an_answer_leaves_the_conversation_where_it_was(store: Store, outcome: str) -> None:
    store.append_sync(*whole_turn("1"))
    store.append_sync(turn("2", parent_message_id=msg(2)))
    under_way = store.turns.get("turn-2")
    assert under_way is not None
    assert (under_way.outcome, store.turns.under_way()) == (None, [under_way])
    store.append_sync(
        ended("2", outcome=outcome, answer=None, stop_reason=None, usage=None, timings=None, error="why")
    )
    assert store.turns.under_way() == []
    session = store.sessions.get("s1")
    row = store.turns.get("turn-2")
    assert session is not None
    assert row is not None
    assert session.tip_message_id == msg(2)
    assert (row.answer_message_id, row.usage, row.timings) == (None, None, None)
    assert (row.user_message_id, row.outcome, row.error) == (msg(3), outcome, "why")


def test_a_cancelled_answer_counts_and_a_failed_one_does_not(store: Store) -> None:
    store.append_sync(turn("1"), ended("1", outcome="cancelled"))
    store.append_sync(turn("2", parent_message_id=msg(2)), ended("2", outcome="failed"))
    session = store.sessions.get("s1")
    assert session is not None
    assert session.tip_message_id == msg(2)


def test_a_session_says_when_it_was_opened_and_when_it_was_last_used(store: Store) -> None:
    opened, _ = store.append_sync(*whole_turn("1"))
    asked, _ = store.append_sync(*whole_turn("2", parent_message_id=msg(2)))
    (session,) = store.sessions.list("local")
    assert (session.created_at_s, session.updated_at_s) == (opened.at_s, asked.at_s)


def test_sessions_are_found_by_digest_and_recency_within_their_principal(store: Store) -> None:
    for number in range(3):
        store.append_sync(*whole_turn(f"{number}", session=f"s{number}", session_key="web"))
    store.append_sync(*whole_turn("x", session="sx", principal="guest", session_key="web"))
    said = [row.message for row in store.messages.path(msg(4))]
    of = {name: chain_all(root(name), said)[-1] for name in ("local", "guest")}
    found = store.messages.by_digest("local", of["local"])
    assert found is not None
    assert found.session_id == "s1"
    assert store.messages.by_digest("guest", of["guest"]) is None
    page = store.sessions.list("local", limit=2)
    assert [row.session_id for row in page] == ["s2", "s1"]
    assert [row.session_id for row in store.sessions.list("local", limit=2, before=page[-1].seq)] == ["s0"]


@pytest.mark.parametrize(
    ("event", "error"),
    [
        (turn("2", parent_message_id="nothing"), NotFound),
        (turn("2", session="s2", parent_message_id=msg(2)), Conflict),
        (turn("2", principal="guest"), Forbidden),
        (turn("2", principal="guest", session="s2", parent_message_id=msg(2)), Forbidden),
        (turn("1"), Conflict),
        (ended("2"), NotFound),
        (ended("1"), Conflict),
        (feedback("1", "nothing"), NotFound),
    ],
)
def test_an_impossible_event_is_refused_and_leaves_no_trace(
    store: Store, event: Event, error: type[HomefireError]
) -> None:
    store.append_sync(*whole_turn("1"))
    with pytest.raises(error):
        store.append_sync(event)
    assert store.last_seq == 2
    assert store.turns.get("turn-2") is None
    assert store.check().is_sound


def test_long_first_questions_are_cut_to_a_title(store: Store) -> None:
    message = Message("user", "word\n" * 1000)
    store.append_sync(turn("1", messages=(message,)))
    session = store.sessions.get("s1")
    assert session is not None
    assert len(session.title) == 80
    assert session.title.startswith("word word")
    assert session.title.endswith("…")


def test_a_thumb_that_is_taken_back_leaves_what_was_said_before_it(store: Store) -> None:
    store.append_sync(turn("1"))

    def verdict_after(number: int, given: str) -> str | None:
        store.append_sync(feedback(str(number), "turn-1", given))
        row = store.turns.get("turn-1")
        assert row is not None
        return row.verdict

    said = [verdict_after(number, given) for number, given in enumerate(("good", "none", "bad", "none"))]
    assert said == ["good", None, "bad", None]
    assert [verdict_after(9, "correction"), verdict_after(10, "good"), verdict_after(11, "none")] == [
        "correction", "good", "correction",
    ]  # fmt: skip
    assert len(store.feedback.list("turn-1")) == 7, "what was said stays in the log"


def test_the_latest_feedback_is_the_verdict(store: Store) -> None:
    store.append_sync(turn("1"))
    store.append_sync(feedback("1", "turn-1", "good"))
    store.append_sync(feedback("2", "turn-1", "correction"), feedback("3", None))
    row = store.turns.get("turn-1")
    assert row is not None
    assert row.verdict == "correction"
    assert [one.verdict for one in store.feedback.list("turn-1")] == ["good", "correction"]


# Keys


def test_a_revoked_key_is_not_found_any_more(store: Store) -> None:
    store.append_sync(KeyCreated(key_id="k", name="laptop", sha256="ab"))
    found = store.keys.find("ab")
    assert found is not None
    assert found.name == "laptop"
    store.append_sync(KeyRevoked(key_id="k"))
    assert store.keys.find("ab") is None
    assert store.keys.list()[0].revoked_at_s is not None
    for name in ("k", "unknown"):
        with pytest.raises(NotFound) as caught:
            store.append_sync(KeyRevoked(key_id=name))
        assert caught.value.details["key_id"] == name


# Examples and datasets


def test_a_new_example_of_a_prompt_supersedes_the_older_one(store: Store) -> None:
    store.append_sync(example("a", prompt="where?", answer="here"))
    store.append_sync(example("b", prompt="where?", answer="there"), example("c"))
    first = store.examples.get("ex-a")
    assert first is not None
    assert first.superseded_by == "ex-b"
    assert taught(store) == ["b", "c"]
    store.append_sync(example("a", prompt="where?", answer="here"))
    assert taught(store) == ["c", "a"], "what is said last counts, also when it was said before"
    assert len(store.examples.list()) == 3


def test_a_withdrawn_example_counts_no_more_until_it_is_taught_again(store: Store) -> None:
    store.append_sync(example("a"), example("b"))
    store.append_sync(withdrawn("a"))
    row = store.examples.get("ex-a")
    assert row is not None
    assert (row.counts, row.withdrawn_why, row.superseded_by) == (False, "a slip", None)
    assert taught(store) == ["b"]
    assert [each.example_id for each in store.examples.current()] == ["ex-b"]
    store.append_sync(example("a"))
    assert taught(store) == ["b", "a"]
    again = store.examples.get("ex-a")
    assert again is not None
    assert (again.counts, again.withdrawn_at_s, again.withdrawn_why) == (True, None, None)
    with pytest.raises(NotFound):
        store.append_sync(withdrawn("z"))


def test_examples_are_paged_by_who_taught_them_and_runs_are_found_by_example(store: Store) -> None:
    for name in "abc":
        store.append_sync(example(name))
    first = store.examples.page("local", before_seq=1 << 62, limit=2)
    assert [row.example_id for row in first] == ["ex-c", "ex-b"]
    rest = store.examples.page("local", before_seq=first[-1].seq, limit=2)
    assert [row.example_id for row in rest] == ["ex-a"]
    assert store.examples.page("guest", before_seq=1 << 62, limit=2) == []
    store.append_sync(dataset("1", "a"), run("1", "1"), dataset("2", "a", "b"), run("2", "2"))
    assert [row.run_id for row in store.runs.of_example("ex-a")] == ["run-2", "run-1"]
    assert [row.run_id for row in store.runs.of_example("ex-b")] == ["run-2"]


def test_examples_are_pending_until_a_dataset_holds_them_and_again_when_taught_again(store: Store) -> None:
    store.append_sync(example("a"), example("b"))
    store.append_sync(dataset("1", "a"))
    assert taught(store) == ["b"]
    store.append_sync(example("a"))
    assert taught(store) == ["b", "a"]
    store.append_sync(dataset("1", "a"))
    assert taught(store) == ["b"], "the same dataset made again holds it"
    row = store.datasets.get("ds-1")
    assert row is not None
    assert (row.example_ids, row.name) == (("ex-a",), "1")
    assert store.datasets.get("nothing") is None


@pytest.mark.parametrize(
    ("event", "error"),
    [
        (dataset("1", "b"), Conflict),
        (dataset("2", "nothing"), NotFound),
        (dataset("2", "a", "nothing"), NotFound),
        (run("1", "nothing"), NotFound),
        (moved("nothing", "running", 1), NotFound),
    ],
)
def test_datasets_and_runs_refer_to_what_is_there(
    store: Store, event: Event, error: type[HomefireError]
) -> None:
    store.append_sync(example("a"), example("b"), dataset("1", "a"))
    with pytest.raises(error):
        store.append_sync(event)


# Runs


@pytest.fixture
def queued(store: Store) -> Store:
    store.append_sync(example("a"), dataset("1", "a"), run("1", "1"))
    return store


def test_a_run_is_told_by_its_moves(queued: Store) -> None:
    queued.append_sync(moved("1", "running", 1))
    queued.append_sync(moved("1", "paused", 1, step=3))
    queued.append_sync(moved("1", "running", 2))
    (recorded,) = queued.append_sync(moved("1", "done", 2, loss=0.5))
    queued.append_sync(version("v001", run_id="run-1"))
    row = queued.runs.get("run-1")
    assert row is not None
    assert (row.state, row.epoch, row.version, row.ended_at_s) == ("done", 2, "v001", recorded.at_s)
    assert row.metrics == {"step": 3, "loss": 0.5}
    assert row.started_at_s is not None
    assert row.started_at_s < recorded.at_s
    assert (row.recipe, row.who, row.why) == ({"steps": 3}, "daemon", "test")


PATHS = {
    "queued": [],
    "running": ["running"],
    "paused": ["running", "paused"],
    **{state: ["running", state] for state in ("done", "refused", "failed", "skipped", "stopped")},
}


@pytest.mark.parametrize("state", ALLOWED_MOVES)
@pytest.mark.parametrize("next_state", ALLOWED_MOVES)
def test_exactly_the_moves_of_the_table_are_allowed(queued: Store, state: str, next_state: str) -> None:
    epoch = 0
    for step in PATHS[state]:
        epoch += step == "running"
        queued.append_sync(moved("1", step, epoch))
    move = moved("1", next_state, epoch + (next_state == "running"))
    if next_state in ALLOWED_MOVES[state]:  # type: ignore[index]
        queued.append_sync(move)
        row = queued.runs.get("run-1")
        assert row is not None
        assert row.state == next_state
    else:
        with pytest.raises(Conflict, match=f"is {state} and cannot become {next_state}"):
            queued.append_sync(move)


def test_a_worker_that_lost_its_lease_can_move_nothing(queued: Store) -> None:
    queued.append_sync(moved("1", "running", 1))
    queued.append_sync(moved("1", "queued", 1), moved("1", "running", 2))
    with pytest.raises(Conflict, match="another lease"):
        queued.append_sync(moved("1", "done", 1))
    with pytest.raises(Conflict, match="another lease"):
        queued.append_sync(moved("1", "failed", 3))
    queued.append_sync(moved("1", "queued", 2))
    for epoch in (1, 2):
        with pytest.raises(Conflict, match="a new lease needs more"):
            queued.append_sync(moved("1", "running", epoch))


def test_runs_are_listed_newest_first_and_by_their_state(store: Store) -> None:
    store.append_sync(example("a"), dataset("1", "a"), run("a", "1"), run("b", "1"), run("c", "1"))
    store.append_sync(moved("b", "skipped", 0))
    assert [row.run_id for row in store.runs.list()] == ["run-c", "run-b", "run-a"]
    assert [row.run_id for row in store.runs.list("queued")] == ["run-c", "run-a"]
    assert [row.run_id for row in store.runs.list("skipped")] == ["run-b"]


# Models, versions, aliases


def test_an_alias_moves_only_from_where_it_is(store: Store) -> None:
    store.append_sync(model(), version())
    store.append_sync(alias("live", "ember"), alias("default", "live"))
    store.append_sync(alias("live", "v001", "ember"))
    with pytest.raises(Conflict, match="moved meanwhile"):
        store.append_sync(alias("live", "ember", "ember"))
    with pytest.raises(Conflict, match="points at nothing"):
        store.append_sync(alias("fast", "ember", "v001"))
    live = store.aliases.get("live")
    assert live is not None
    assert (live.target, live.previous, live.why) == ("v001", "ember", "because")
    assert [row.target for row in store.aliases.history("live")] == ["v001", "ember"]
    assert [row.alias for row in store.aliases.list()] == ["default", "live"]
    assert store.aliases.get("nothing") is None


@pytest.mark.parametrize(
    ("event", "error"),
    [
        (alias("fast", "nothing"), ModelNotFound),
        (alias("fast", "fast"), ModelNotFound),
        (alias("live", "default", "ember"), Conflict),
        (alias("ember", "v001"), Conflict),
        (alias("v001", "ember"), Conflict),
        (model("live"), Conflict),
        (model("v001"), Conflict),
        (model("ember", digest="sha256:other"), Conflict),
        (version("v001"), Conflict),
        (version("ember"), Conflict),
        (ModelRemoved(name="ember"), Conflict),
        (ModelRemoved(name="nothing"), ModelNotFound),
        (removed("nothing"), ModelNotFound),
    ],
)
def test_names_mean_one_thing_and_lead_somewhere(
    store: Store, event: Event, error: type[HomefireError]
) -> None:
    store.append_sync(model(), version(), alias("live", "ember"), alias("default", "live"))
    with pytest.raises(error):
        store.append_sync(event)
    assert store.last_seq == 4


def test_a_model_that_moved_is_registered_again(store: Store) -> None:
    store.append_sync(model(), alias("live", "ember"))
    store.append_sync(model(path="/elsewhere"))
    row = store.models.get("ember")
    assert row is not None
    assert (row.path, row.files) == ("/elsewhere", {"model.safetensors": "sha256:bb"})
    assert [one.name for one in store.models.list()] == ["ember"]


def test_a_removed_version_is_not_listed_and_its_name_not_given_again(store: Store) -> None:
    assert store.versions.next_name() == "v001"
    store.append_sync(version("v001"), version("v002"))
    store.append_sync(removed("v002"))
    assert [row.version for row in store.versions.list()] == ["v001"]
    assert [name for name in ("v001", "v002") if store.versions.get(name)] == ["v001", "v002"]
    assert store.versions.next_name() == "v003"
    gone = store.versions.get("v002")
    assert gone is not None
    assert gone.removed_at_s is not None
    with pytest.raises(ModelNotFound):
        store.append_sync(alias("live", "v002"))
    with pytest.raises(Conflict):
        store.append_sync(version("v002"))


def test_the_live_version_is_not_removed(store: Store) -> None:
    store.append_sync(version("v001"), alias("live", "v001"))
    with pytest.raises(Conflict, match="live points at it"):
        store.append_sync(removed("v001"))


def test_version_names_go_on_after_a_thousand(store: Store) -> None:
    store.append_sync(version("v999"), version("vault"))
    assert store.versions.next_name() == "v1000"


def test_the_latest_verdict_of_the_gate_counts(store: Store) -> None:
    def judged(passed: bool) -> GateJudged:
        return GateJudged(version="v001", run_id=None, passed=passed, reasons=("because",), scores={"a": 0.5})

    store.append_sync(judged(False), version("v001"))
    first = store.versions.get("v001")
    store.append_sync(judged(True))
    second = store.versions.get("v001")
    assert first is not None
    assert second is not None
    assert (first.gate_passed, first.gate_reasons, first.gate_scores) == (False, ("because",), {"a": 0.5})
    assert second.gate_passed is True
    store.append_sync(version("v002"))
    unjudged = store.versions.get("v002")
    assert unjudged is not None
    assert (unjudged.gate_passed, unjudged.gate_reasons, unjudged.gate_scores) == (None, (), {})


# Folding anew

_names = st.sampled_from("abc")
_maybe: Callable[[st.SearchStrategy[str]], st.SearchStrategy[str | None]] = lambda s: st.none() | s  # noqa: E731
any_event = st.one_of(
    st.builds(
        lambda name, session, principal, parent: turn(
            name, session=session, principal=principal, parent_message_id=parent
        ),
        st.text("abcdef", min_size=1, max_size=2),
        st.sampled_from(["s1", "s2"]),
        st.sampled_from(["local", "guest"]),
        _maybe(st.sampled_from([msg(1), msg(2), msg(4)])),
    ),
    st.builds(
        lambda name, outcome: ended(name, outcome=outcome),
        st.text("abcdef", min_size=1, max_size=2),
        st.sampled_from(["answered", "cancelled", "failed", "interrupted"]),
    ),
    st.builds(lambda name, about: feedback(name, f"turn-{about}"), _names, _names),
    st.builds(lambda name, prompt: example(name, prompt=prompt), _names, _maybe(st.sampled_from(["x", "y"]))),
    st.builds(withdrawn, _names),
    st.builds(lambda name, ones: dataset(name, *ones), _names, st.lists(_names, min_size=1, max_size=2)),
    st.builds(lambda name, of: run(name, of), _names, _names),
    st.builds(moved, _names, st.sampled_from(list(ALLOWED_MOVES)), st.integers(0, 3)),
    st.builds(model, st.sampled_from(["ember", "v001"])),
    st.builds(alias, st.sampled_from(["live", "fast"]), st.sampled_from(["ember", "v001", "live"])),
    st.builds(version, st.sampled_from(["v001", "v002"])),
    st.builds(removed, st.sampled_from(["v001", "v002"])),
)


@given(calls=st.lists(st.lists(any_event, min_size=1, max_size=3), max_size=25))
@settings(max_examples=25, deadline=None)
def test_folding_the_log_anew_gives_the_same_tables_whatever_happened(
    tmp_path_factory: pytest.TempPathFactory, calls: list[list[Event]]
) -> None:
    """Refused calls in between must leave no trace in the tables or in the chain."""
    store = open_store(Home(tmp_path_factory.mktemp("home")), StoreSettings(reserve_bytes=0), World())
    for events in calls:
        before = store.last_seq
        try:
            store.append_sync(*events)
        except HomefireError:
            assert store.last_seq == before
    report = store.check()
    assert [problem for problem in report.problems if "manifest" not in problem] == []
    assert report.num_events == store.last_seq
    store.rebuild()
    assert store.check().problems == report.problems
    store.close()
