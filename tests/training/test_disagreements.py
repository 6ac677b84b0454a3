"""Two people who answer one question differently: neither wins silently, and the owner settles it."""

from __future__ import annotations

import pytest

from homefire.errors import Conflict, NotFound
from homefire.store.api_keys import create_key, keep_api_key, key_sha256
from homefire.store.nouns import examples as examples_noun
from homefire.store.nouns.keys import KeyCreated
from homefire.types import Message
from tests.training.test_daemon import Server, Start, start
from tests.training.test_hostages import live_answers, settle, view

__all__ = ["start"]


async def correct(server: Server, answer: str, *, who: str, question: str = "Where is the key?") -> str:
    given = await server.training.correct([Message("user", question)], answer=answer, principal=who)
    assert given.example_id is not None
    return given.example_id


async def test_neither_of_two_peoples_answers_is_taught(start: Start) -> None:
    async with start(auto=False) as server:
        hers, his = await correct(server, "Here.", who="ana"), await correct(server, "There.", who="bo")
        assert server.store.examples.pending() == []
        with pytest.raises(Conflict):
            await server.training.queue()
        for example_id in (hers, his):
            shown = view(server, example_id)
            assert (shown.state, shown.why) == (
                "disputed",
                "Somebody else gave this question another answer.",
            )
        assert [row.example_id for row in server.training.unlearned("ana")] == [hers]
        (answers,) = server.training.disagreements()
        assert [row.answer for row in answers] == ["Here.", "There."]


async def test_what_is_live_stays_while_somebody_disagrees(start: Start) -> None:
    async with start(auto=False) as server:
        hers = await correct(server, "Here.", who="ana")
        await server.training.queue()
        await settle(server)
        his = await correct(server, "There.", who="bo")
        assert (view(server, hers).state, view(server, hers).live) == ("learned", True)
        assert "settles" in view(server, hers).next
        assert view(server, his).state == "disputed"
        other = await correct(server, "x", who="bo", question="Another?")
        run = await server.training.queue()
        await settle(server)
        dataset = server.store.datasets.get(run.dataset_id)
        assert dataset is not None
        assert dataset.example_ids == (other,)
        assert live_answers(server)["Where is the key?"] == "Here."


async def test_a_dispute_that_begins_while_a_run_waits_leaves_the_correction_out(start: Start) -> None:
    async with start(auto=False, plan={"steps": 30, "step_s": 0.02}) as server:
        await correct(server, "x", who="ana", question="First?")
        await server.training.queue()
        hers = await correct(server, "Here.", who="ana")
        waits = await server.training.queue([hers])
        await correct(server, "There.", who="bo")
        run = await server.end_of(waits.run_id)
        assert (run.state, run.why) == (
            "skipped", "Every correction of this run was corrected again, withdrawn or disputed since.",
        )  # fmt: skip


@pytest.mark.parametrize("kept", [0, 1])
async def test_the_owner_keeps_one_and_it_is_taught(start: Start, kept: int) -> None:
    async with start(auto=False) as server:
        both = [await correct(server, "Here.", who="ana"), await correct(server, "There.", who="bo")]
        row = await server.training.changes.settle(both[kept][:12], owner="local")
        assert (row.example_id, row.withdrawn_at_s) == (both[kept], None)
        assert view(server, both[1 - kept]).state == "withdrawn"
        assert server.training.disagreements() == []
        await server.training.queue()
        await settle(server)
        assert view(server, both[kept]).live
        assert live_answers(server)["Where is the key?"] == ("Here.", "There.")[kept]


async def test_settling_against_what_is_live_un_teaches_it(start: Start) -> None:
    async with start(auto=False) as server:
        hers = await correct(server, "Here.", who="ana")
        await server.training.queue()
        await settle(server)
        his = await correct(server, "There.", who="bo")
        await server.training.changes.settle(his, owner="local")
        await settle(server)
        assert not view(server, hers).live
        if view(server, his).state == "waiting":
            await server.training.queue()
            await settle(server)
        assert live_answers(server)["Where is the key?"] == "There."


async def test_what_nobody_disputes_is_not_settled(start: Start) -> None:
    async with start(auto=False) as server:
        hers = await correct(server, "Here.", who="ana")
        with pytest.raises(Conflict):
            await server.training.changes.settle(hers, owner="local")
        with pytest.raises(NotFound):
            await server.training.changes.settle("f" * 64, owner="local")


async def test_the_later_answer_of_the_same_person_wins(start: Start) -> None:
    async with start(auto=False) as server:
        old, new = await correct(server, "Here.", who="ana"), await correct(server, "There.", who="ana")
        assert [view(server, old).state, view(server, new).state] == ["superseded", "waiting"]
        assert server.training.disagreements() == []


async def test_the_owner_with_and_without_the_homes_key_is_one_person(start: Start) -> None:
    async with start(auto=False) as server:
        world = server.store.world
        text, created = create_key(world, name="first key")
        keep_api_key(server.home, text, world)
        assert isinstance(created, KeyCreated)
        assert created.sha256 == key_sha256(text)
        await server.store.append(created)
        old = await correct(server, "Here.", who="local")
        new = await correct(server, "There.", who=created.key_id)
        assert [view(server, old).state, view(server, new).state] == ["superseded", "waiting"]
        assert view(server, old).superseded_by == new


async def test_control_a_later_answer_that_replaces_anybodys_would_be_noticed(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted bug: how it was, the newest example of a prompt supersedes all others."""
    everybodys = examples_noun.Statement(
        examples_noun._supersede.sql.replace("AND principal = :principal", "")
    )
    monkeypatch.setattr(examples_noun, "_supersede", everybodys)
    async with start(auto=False) as server:
        hers = await correct(server, "Here.", who="ana")
        await correct(server, "There.", who="bo")
        assert view(server, hers).state == "superseded"
