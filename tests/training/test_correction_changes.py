"""Withdrawing, editing, retrying and un-teaching corrections, with a stand-in trainer and small models."""

from __future__ import annotations

import json
from typing import Any

import pytest

from homefire.errors import Conflict, InvalidRequest, NotFound
from homefire.store.nouns.examples import CorrectionWithdrawn
from homefire.store.nouns.runs import RunRow
from homefire.store.nouns.versions import GateJudged
from homefire.training.correction_states import CorrectionView
from tests.training.test_daemon import Server, Start
from tests.training.test_daemon import start as start  # the fixture

SLOW = {"steps": 400, "step_s": 0.02}


def view(server: Server, example_id: str) -> CorrectionView:
    example = server.store.examples.get(example_id)
    assert example is not None
    return server.training.correction_states().view(example)


def answers(server: Server) -> dict[str, str]:
    """What the live model knows by heart."""
    folder = server.catalog.resolve("live").model.folder
    known: dict[str, str] = json.loads((folder / "answers.json").read_text())
    return known


async def teach(server: Server, question: str, answer: str) -> str:
    """A correction that is learned and live when this returns."""
    example_id = await server.correct(question, answer)
    run = await server.end_of(await server.run_of(example_id))
    assert (run.state, server.live) == ("done", run.version)
    return example_id


async def withdraw(server: Server, example_id: str, *, principal: str = "local") -> None:
    await server.training.changes.withdraw(example_id, principal=principal, why="a slip")


async def end_of_newest(server: Server) -> RunRow:
    return await server.end_of(server.store.runs.list()[0].run_id)


# Withdrawing


async def test_one_that_waits_is_withdrawn_and_in_no_dataset(start: Start) -> None:
    async with start(auto=False) as server:
        gone, stays = await server.correct("q1", "a1"), await server.correct("q2", "a2")
        assert view(server, gone).state == "waiting"
        await withdraw(server, gone)
        run = await server.training.queue()
        dataset = server.store.datasets.get(run.dataset_id)
        assert dataset is not None
        assert dataset.example_ids == (stays,)
        shown = view(server, gone)
        assert (shown.state, shown.live, shown.why) == ("withdrawn", False, "a slip")
        seq = server.store.last_seq
        await withdraw(server, gone)
        assert not any(
            isinstance(one.event, CorrectionWithdrawn) for one in server.store.events(after_seq=seq)
        )


async def test_a_queued_run_does_not_learn_what_is_withdrawn_before_its_turn(start: Start) -> None:
    async with start(auto=False, plan=SLOW) as server:
        first = await server.training.queue([await server.correct("first", "1")])
        await server.until(first.run_id, lambda progress: progress.step > 0)
        gone, stays = await server.correct("q1", "a1"), await server.correct("q2", "a2")
        run = await server.training.queue([gone, stays])
        await withdraw(server, gone)
        await server.training.signal(first.run_id, "skip", who="me", why="x")
        await server.until(run.run_id, lambda progress: progress.step > 0)
        rows = (server.home.runs / run.run_id / "examples.jsonl").read_text()
        assert ("q1" in rows, "q2" in rows) == (False, True)
        row = server.store.runs.get(run.run_id)
        assert row is not None
        assert row.metrics["left_out"] == [gone]


async def test_a_paused_run_begins_anew_without_what_is_withdrawn(start: Start) -> None:
    async with start(auto=False, plan={"steps": 30, "step_s": 0.02}) as server:
        gone, stays = await server.correct("q1", "a1"), await server.correct("q2", "a2")
        run = await server.training.queue([gone, stays])
        await server.until(run.run_id, lambda progress: progress.step > 3)
        await server.training.signal(run.run_id, "pause", who="me", why="x")
        await withdraw(server, gone)
        await server.training.signal(run.run_id, "resume", who="me", why="x")
        ended = await server.end_of(run.run_id)
        assert (ended.state, server.live) == ("done", ended.version)
        assert ("q1" in answers(server), answers(server)["q2"]) == (False, "a2")
        assert server.library.manifest("v001").lineage.example_ids == (stays,)


async def test_withdrawing_what_trains_ends_the_run_and_queues_the_others(start: Start) -> None:
    async with start(auto=False, plan={"steps": 60, "step_s": 0.02}) as server:
        gone, stays = await server.correct("q1", "a1"), await server.correct("q2", "a2")
        run = await server.training.queue([gone, stays])
        await server.until(run.run_id, lambda progress: progress.step > 0)
        await withdraw(server, gone)
        stopped = server.store.runs.get(run.run_id)
        assert stopped is not None
        assert (stopped.state, stopped.who) == ("stopped", "local")
        again = await end_of_newest(server)
        assert again.run_id in stopped.why
        assert (again.state, server.live) == ("done", "v001")
        assert ("q1" in answers(server), answers(server)["q2"]) == (False, "a2")


async def test_withdrawing_the_only_one_that_trains_leaves_nothing_to_do(start: Start) -> None:
    async with start(plan=SLOW) as server:
        gone = await server.correct("q1", "a1")
        run_id = await server.run_of(gone)
        await server.until(run_id, lambda progress: progress.step > 0)
        await withdraw(server, gone)
        (run,) = server.store.runs.list()
        assert run.state == "stopped"
        assert "a slip" in run.why
        assert server.live == "small"


async def test_a_version_that_learned_what_was_withdrawn_meanwhile_does_not_go_live(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The event alone decides: nobody told the run (a server that was killed between the two)."""
    from homefire.training.completion import Completion

    real = Completion._judge

    async def withdraw_then_judge(self: Any, run: RunRow, version: Any) -> Any:
        if run.epoch == 0:  # the row of before the first lease
            await self._store.append(
                CorrectionWithdrawn(example_id=self.trained_examples(run)[0].example_id, who="x", why="y")
            )
        return await real(self, run, version)

    monkeypatch.setattr(Completion, "_judge", withdraw_then_judge)
    async with start(auto=False) as server:
        await server.correct("q1", "a1")
        run = await server.end_of((await server.training.queue()).run_id)
        assert (run.state, server.live) == ("stopped", "small")
        assert "withdrawn meanwhile" in run.why


async def test_corrections_belong_to_who_gave_them(start: Start) -> None:
    async with start(auto=False) as server:
        example_id = await server.correct("q", "a")
        changes = server.training.changes
        for name in (example_id, example_id[:8], "nothing"):
            with pytest.raises(NotFound):
                changes.find(name, principal="somebody else")
        with pytest.raises(NotFound):
            await changes.withdraw(example_id, principal="somebody else", why="x")
        with pytest.raises(NotFound):
            await changes.edit(example_id, principal="somebody else", answer="b")
        with pytest.raises(NotFound):
            await changes.retry(example_id, principal="somebody else")
        assert changes.find(example_id[:8], principal="local").example_id == example_id
        assert server.training.unlearned("somebody else") == []


# Editing


async def test_an_edited_answer_takes_the_place_of_the_old_one(start: Start) -> None:
    async with start(auto=False) as server:
        old = await server.correct("q", "a")
        before = server.store.last_seq
        new = await server.training.changes.edit(old, principal="local", answer="b")
        assert [one.event.__struct_config__.tag for one in server.store.events(after_seq=before)] == [
            "feedback.given", "example.created",
        ]  # fmt: skip
        assert [each.example_id for each in server.store.examples.pending()] == [new.example_id]
        assert view(server, old).state == "superseded"
        with pytest.raises(Conflict):
            await server.training.changes.edit(old, principal="local", answer="c")
        with pytest.raises(Conflict, match="corrected again"):
            await withdraw(server, old)


async def test_an_edited_question_withdraws_the_old_one_in_the_same_transaction(start: Start) -> None:
    async with start(auto=False) as server:
        old = await server.correct("where is teh key", "Under the pot.")
        new = await server.training.changes.edit(old, principal="local", question="Where is the key?")
        assert [each.example_id for each in server.store.examples.pending()] == [new.example_id]
        assert (new.question, new.answer) == ("Where is the key?", "Under the pot.")
        row = server.store.examples.get(old)
        assert row is not None
        assert (row.superseded_by, row.withdrawn_why) == (new.example_id, "edited")


@pytest.mark.parametrize("answer", ["a", " ", "\u200b"])
async def test_an_edit_that_changes_nothing_or_teaches_nothing_is_refused(start: Start, answer: str) -> None:
    async with start(auto=False) as server:
        old = await server.correct("q", "a")
        with pytest.raises(InvalidRequest):
            await server.training.changes.edit(old, principal="local", answer=answer)
        assert len(server.store.examples.pending()) == 1


# Un-teaching


async def test_what_is_live_is_un_taught_and_the_others_stay(start: Start) -> None:
    async with start() as server:
        one, two, three = [await teach(server, f"q{n}", f"a{n}") for n in (1, 2, 3)]
        await withdraw(server, two)
        assert view(server, two).live
        run = await end_of_newest(server)
        assert (run.state, server.live) == ("done", run.version)
        known = answers(server)
        assert ("q2" in known, known["q1"], known["q3"]) == (False, "a1", "a3")
        assert server.library.manifest("v004").parent == "v001"
        assert server.library.get("v004").description == "1 correction, without 1 that was withdrawn"
        assert not view(server, two).live
        assert [view(server, each).live for each in (one, three)] == [True, True]
        # Later versions go on from there, and nothing protects or replays what is gone.
        await teach(server, "q4", "a4")
        assert ("q2" in answers(server), answers(server)["q3"]) == (False, "a3")
        kept = (server.home.runs / server.store.runs.list()[0].run_id / "retained.jsonl").read_text()
        assert ("q2" in kept, "q3" in kept) == (False, True)


async def test_where_nothing_else_was_taught_since_live_goes_back_without_training(start: Start) -> None:
    async with start() as server:
        one = await teach(server, "q1", "a1")
        two = await teach(server, "q2", "a2")
        await withdraw(server, two)
        assert (server.live, len(server.store.runs.list())) == ("v001", 2)
        await withdraw(server, one)
        assert (server.live, len(server.store.runs.list())) == ("small", 2)
        assert server.promotion.previous() == "v001"


async def test_live_goes_back_also_to_what_was_promoted_against_the_gate(start: Start) -> None:
    async with start() as server:
        await teach(server, "q1", "a1")
        two = await teach(server, "q2", "a2")
        refused = GateJudged(version="v001", run_id=None, passed=False, reasons=("worse",), scores={})
        await server.store.append(refused)
        await withdraw(server, two)
        assert server.live == "v001"


async def test_un_teaching_leaves_no_earlier_answer_to_the_same_question(start: Start) -> None:
    async with start() as server:
        await teach(server, "other", "x")
        await teach(server, "q", "wrong")
        await teach(server, "third", "y")
        right = await teach(server, "q", "right")
        await withdraw(server, right)
        await end_of_newest(server)
        known = answers(server)
        assert ("q" in known, known["other"], known["third"]) == (False, "x", "y")


async def test_where_the_version_before_is_gone_an_older_one_is_taught_all_that_stays(start: Start) -> None:
    async with start() as server:
        ids = [await teach(server, f"q{n}", f"a{n}") for n in (1, 2, 3)]
        await server.library.delete("v001", who="me", why="no room")
        await withdraw(server, ids[1])
        run = await end_of_newest(server)
        known = answers(server)
        assert (run.state, run.parent) == ("done", "small")
        assert (known["q1"], "q2" in known, known["q3"]) == ("a1", False, "a3")


async def test_two_withdrawn_one_after_the_other_are_both_gone(start: Start) -> None:
    async with start(plan={"steps": 20, "step_s": 0.02}) as server:
        ids = [await teach(server, f"q{n}", f"a{n}") for n in (1, 2, 3)]
        await withdraw(server, ids[0])
        await server.until(server.store.runs.list()[0].run_id, lambda progress: progress.step > 0)
        await withdraw(server, ids[1])
        while any(run.state in ("queued", "running") for run in server.store.runs.list()):
            await end_of_newest(server)
        known = answers(server)
        assert ("q1" in known, "q2" in known, known["q3"]) == (False, False, "a3")


async def test_a_version_that_went_live_meanwhile_is_un_taught_too(start: Start) -> None:
    """The plan is made again when its turn comes: what was learned meanwhile stays."""
    async with start(plan={"steps": 25, "step_s": 0.02}) as server:
        gone = await teach(server, "q1", "a1")
        await teach(server, "q2", "a2")
        between = await server.run_of(await server.correct("q3", "a3"))
        await server.until(between, lambda progress: progress.step > 0)
        await withdraw(server, gone)
        while any(run.state in ("queued", "running") for run in server.store.runs.list()):
            await end_of_newest(server)
        known = answers(server)
        assert ("q1" in known, known["q2"], known["q3"]) == (False, "a2", "a3")


async def test_a_refused_un_teaching_leaves_live_as_it_is_and_says_what_to_do(start: Start) -> None:
    async with start() as server:
        gone, stays = await teach(server, "q1", "a1"), await teach(server, "q2", "a2")
    async with start(plan={"learn": False}) as server:
        await withdraw(server, gone)
        run = await end_of_newest(server)
        assert (run.state, server.live) == ("refused", "v002")
        assert "withdraw it again" in run.why
        shown = view(server, gone)
        assert (shown.state, shown.live) == ("withdrawn", True)
        assert "v002 still knows it" in shown.next
        assert (view(server, stays).state, view(server, stays).live) == ("learned", True)
        assert server.training.unlearned("local") == []
    async with start() as server:
        await withdraw(server, gone)
        run = await end_of_newest(server)
        assert (run.state, "q1" in answers(server), answers(server)["q2"]) == ("done", False, "a2")


# Refused and stranded


async def test_a_refused_correction_can_be_seen_with_its_reasons_and_what_comes_next(start: Start) -> None:
    async with start(plan={"learn": False}) as server:
        example_id = await server.correct("q", "a")
        run = await server.end_of(await server.run_of(example_id))
        shown = view(server, example_id)
        assert (shown.state, shown.run_id, shown.version) == ("refused", run.run_id, "v001")
        assert shown.reasons == ("The correction was not learned.",)
        assert shown.why.startswith("It was not learned after 4 steps")
        assert "LoRA" in shown.helps
        assert "by itself" in shown.next
        assert [each.example_id for each in server.training.unlearned("local")] == [example_id]
        assert "1 correction is not tried again" in run.why


async def test_the_check_notices_a_refused_correction_that_nobody_shows(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted bug: only stranded ones are shown, and a refused one is in no list at all."""
    monkeypatch.setattr("homefire.training.correction_states.UNLEARNED", ("stranded",))
    async with start(plan={"learn": False}) as server:
        await server.end_of(await server.run_of(await server.correct("q", "a")))
        assert server.store.examples.pending() == []
        assert server.store.runs.list("queued") == []
        assert server.training.unlearned("local") == []  # what the test above would not accept


async def test_no_correction_that_counts_is_in_no_state_whatever_became_of_its_run(start: Start) -> None:
    async with start(auto=False, plan=SLOW) as server:
        example_id = await server.correct("q", "a")
        run = await server.training.queue()
        await server.until(run.run_id, lambda progress: progress.step > 0)
        assert view(server, example_id).state == "training"
        await server.training.signal(run.run_id, "pause", who="me", why="x")
        assert "resume" in view(server, example_id).next
        await server.training.signal(run.run_id, "skip", who="me", why="enough")
        shown = view(server, example_id)
        assert (shown.state, shown.why) == ("stranded", "enough")
        assert "retry" in shown.next
        assert [each.example_id for each in server.training.unlearned("local")] == [example_id]


async def test_a_stranded_correction_can_be_tried_again(start: Start) -> None:
    async with start(auto=False) as server:
        example_id = await server.correct("q", "a")
        with pytest.raises(Conflict, match="waiting"):
            await server.training.changes.retry(example_id, principal="local")
        run = await server.training.queue()
        await server.training.signal(run.run_id, "skip", who="me", why="x")
        run = await server.training.changes.retry(example_id, principal="local")
        await server.end_of(run.run_id)
        assert view(server, example_id).live
        with pytest.raises(Conflict, match="learned and live"):
            await server.training.changes.retry(example_id, principal="local")


async def test_a_refused_run_is_retried_as_a_new_one(start: Start) -> None:
    async with start(plan={"learn": False}) as server:
        example_id = await server.correct("q", "a")
        run = await server.end_of(await server.run_of(example_id))
    async with start() as server:
        again = await server.training.signal(run.run_id, "retry", who="me", why="x")
        assert again.run_id != run.run_id
        await server.end_of(again.run_id)
        assert view(server, example_id).live


async def test_taken_back_is_told_apart_from_refused(start: Start) -> None:
    async with start() as server:
        example_id = await teach(server, "q", "a")
        await server.promotion.rollback(who="me", why="x")
        shown = view(server, example_id)
        assert (shown.state, shown.live) == ("learned", False)
        assert "not live any more" in shown.why
        assert server.training.unlearned("local") == []


# Live that moves meanwhile


@pytest.mark.parametrize("action", ["resume", "retry", "skip and retry"])
async def test_a_run_that_goes_on_begins_anew_from_what_is_live(start: Start, action: str) -> None:
    async with start(auto=False, plan={"steps": 30, "step_s": 0.02}) as server:
        held = await server.correct("held", "1")
        run = await server.training.queue([held])
        await server.until(run.run_id, lambda progress: progress.step > 2)
        stop = {"resume": "pause", "retry": "stop", "skip and retry": "skip"}[action]
        await server.training.signal(run.run_id, stop, who="me", why="x")  # type: ignore[arg-type]
        other = await server.training.queue([await server.correct("other", "2")])
        await server.end_of(other.run_id)
        assert server.live == "v001"
        again = "resume" if action == "resume" else "retry"
        await server.training.signal(run.run_id, again, who="me", why="x")  # type: ignore[arg-type]
        ended = await server.end_of(run.run_id)
        assert (ended.state, ended.parent, server.live) == ("done", "v001", "v002")
        assert (answers(server)["held"], answers(server)["other"]) == ("1", "2")


async def test_the_next_try_is_queued_in_the_transaction_that_ends_the_run(start: Start) -> None:
    async with start(plan={"learn": False}, max_tries=2) as server:
        await server.end_of(await server.run_of(await server.correct("q", "a")))
        kinds = [one.event.__struct_config__.tag for one in server.store.events()]
        states = [getattr(one.event, "state", None) for one in server.store.events()]
        place = states.index("refused")
        assert kinds[place : place + 3] == ["run.moved", "dataset.created", "run.queued"]
        stamps = [one.at_s for one in server.store.events()][place : place + 3]
        assert len(set(stamps)) == 1
        await end_of_newest(server)
