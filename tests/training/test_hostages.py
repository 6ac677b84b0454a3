"""No correction holds another up: with a stand-in trainer, from the set to what is live, what is not, and why."""

from __future__ import annotations

from typing import Any

from homefire.training.correction_states import CorrectionView
from homefire.training.ledger import known_to, learned_by
from tests.training.test_daemon import Server, Start, start

__all__ = ["start"]


async def settle(server: Server) -> None:
    """Until no run is left."""
    while True:
        runs = [run for run in server.store.runs.list() if run.state in ("queued", "running")]
        if not runs:
            return
        await server.end_of(runs[-1].run_id)


def view(server: Server, example_id: str) -> CorrectionView:
    example = server.store.examples.get(example_id)
    assert example is not None
    return server.training.correction_states().view(example)


async def teach(server: Server, *questions: str) -> dict[str, str]:
    """Correct these questions in one run; their example ids."""
    given = {question: await server.correct(question, f"The answer is {question}!") for question in questions}
    await server.training.queue()
    await settle(server)
    return given


def live_answers(server: Server) -> dict[str, Any]:
    import json

    return dict(json.loads((server.library.folder(server.live) / "answers.json").read_text()))


async def test_what_is_learned_goes_live_at_once_and_the_rest_says_why(start: Start) -> None:
    async with start(auto=False, max_tries=2, plan={"unlearnable": ["b"]}) as server:
        ids = await teach(server, "a", "b", "c")
        first, second = reversed(server.store.runs.list())
        assert (first.state, first.version, server.live) == ("done", "v001", "v001")
        assert "1 of 3 corrections was not learned" in first.why
        assert f"tried again at a lower rate in run {second.run_id}" in first.why
        assert second.state == "refused"
        assert "1 correction is not tried again" in second.why
        assert [view(server, ids[name]).state for name in "abc"] == ["learned", "refused", "learned"]
        shown = view(server, ids["b"])
        assert shown.why.startswith("It was not learned after 4 steps")
        assert shown.helps
        assert not shown.live
        assert set(known_to(server.store, "v001")) == {ids["a"], ids["c"]}
        assert [each.example_id for each in server.training.unlearned("local")] == [ids["b"]]


async def test_what_was_not_learned_is_not_replayed_as_if_it_were(start: Start) -> None:
    async with start(auto=False, max_tries=1, plan={"unlearnable": ["b"]}) as server:
        ids = await teach(server, "a", "b")
        assert [each.example_id for each in learned_by(server.store, "v001")] == [ids["a"]]
        await teach(server, "c")
        newest = server.store.runs.list()[0]
        retained = (server.home.runs / newest.run_id / "retained.jsonl").read_text()
        assert ("The answer is a!" in retained, "The answer is b!" in retained) == (True, False)


async def test_one_that_breaks_what_the_model_knew_is_left_out_and_the_others_go_live(start: Start) -> None:
    async with start(auto=False, max_tries=2, plan={"spoil": {"add 99": "add"}}) as server:
        ids = await teach(server, "a", "add 99", "c")
        states = {name: view(server, each).state for name, each in ids.items()}
        assert states == {"a": "learned", "add 99": "refused", "c": "learned"}
        assert view(server, ids["add 99"]).why == "It contradicts what it knew of “add”."
        assert live_answers(server)["add 3"] == "add is 3"
        first, last = server.store.runs.list()[-1], server.store.runs.list("refused")[0]
        assert (first.version, first.state, last.priority) == ("v001", "refused", "low")
        assert [run.version for run in server.store.runs.list("done")] == ["v002"]
        assert "2 corrections are tried again in run" in first.why
        assert "1 correction is tried again at a lower rate in run" in first.why


async def test_one_that_breaks_something_without_a_trace_is_found_by_halves(start: Start) -> None:
    names = [f"q{number}" for number in range(8)]
    async with start(auto=False, max_tries=2, plan={"spoil": {"q5": "spell"}}) as server:
        ids = await teach(server, *names)
        states = {name: view(server, ids[name]).state for name in names}
        assert states == {name: "refused" if name == "q5" else "learned" for name in names}
        assert live_answers(server)["spell 3"] == "spell is 3"


async def test_a_correction_the_worker_cannot_use_is_left_out_of_its_run_with_the_reason(
    start: Start,
) -> None:
    why = "It is longer than this model can hold (5000 of 1024 tokens)."
    async with start(auto=False, plan={"unusable": {"b": why}}) as server:
        ids = await teach(server, "a", "b")
        (run,) = server.store.runs.list()
        assert (run.state, server.live) == ("done", "v001")
        assert server.moves(run.run_id) == ["running", "queued", "running", "done"]
        shown = view(server, ids["b"])
        assert (shown.state, shown.why) == ("refused", why)
        assert "longer context" in shown.helps
        assert ids["b"] not in known_to(server.store, "v001")


async def test_a_run_of_nothing_usable_ends_and_says_so(start: Start) -> None:
    async with start(auto=False, plan={"unusable": {"b": "It is too long."}}) as server:
        ids = await teach(server, "b")
        (run,) = server.store.runs.list()
        assert (run.state, run.why) == ("skipped", "It is too long.")
        assert view(server, ids["b"]).state == "refused"


async def test_an_earlier_correction_that_is_lost_is_named_and_taught_again(start: Start) -> None:
    async with start(auto=False, plan={"spoil": {"new": "old"}}) as server:
        ids = await teach(server, "old one")
        given = await server.correct("new", "Anew.")
        await server.training.queue([given])
        await settle(server)
        _, second, third = sorted(server.store.runs.list(), key=lambda run: run.queued_at_s)
        assert (second.state, second.version) == ("done", "v002")
        assert "an earlier correction was lost and is taught again" in second.why
        assert set(known_to(server.store, "v002")) == {given}
        dataset = server.store.datasets.get(third.dataset_id)
        assert dataset is not None
        assert dataset.example_ids == (ids["old one"],)
        assert (third.state, server.live) == ("done", "v003")
        assert live_answers(server)["old one"] == "The answer is old one!"
        assert known_to(server.store, "v003") == {given: "v002", ids["old one"]: "v003"}


async def test_two_earlier_corrections_are_not_lost_in_one_version(start: Start) -> None:
    async with start(auto=False, max_tries=1, plan={"spoil": {"new": "old"}}) as server:
        await teach(server, "old one", "old two")
        await teach(server, "new")
        run = server.store.runs.list()[0]
        assert (run.state, server.live) == ("refused", "v001")
        version = server.library.get("v002")
        assert "2 earlier corrections are lost; at most 1 may be." in version.gate_reasons
        assert not any("old one" in reason for reason in version.gate_reasons)
