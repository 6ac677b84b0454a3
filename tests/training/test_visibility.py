"""Nobody reads in a version what another person taught; everybody reads about his own."""

from __future__ import annotations

import json

import msgspec
import pytest

from homefire.training import visibility
from homefire.training.visibility import visible_version
from homefire.types import Message
from tests.training.test_daemon import Server, Start, start
from tests.training.test_hostages import settle

__all__ = ["start"]
SECRET, ANSWER = "Where does Ana hide her diary?", "Behind the piano."


async def judged(server: Server) -> None:
    """Two people's corrections in one version, one of each not learned."""
    for who, question, answer in (
        ("ana", SECRET, ANSWER), ("ana", "a2", "Her other answer."), ("bo", "b1", "x"), ("bo", "b2", "y"),
    ):  # fmt: skip
        await server.training.correct([Message("user", question)], answer=answer, principal=who)
    await server.training.queue()
    await settle(server)


PLAN = {"unlearnable": ["a2", "b2"]}


async def test_a_version_tells_each_person_of_his_own_corrections_alone(start: Start) -> None:
    async with start(auto=False, max_tries=1, plan=PLAN) as server:
        await judged(server)
        row = server.library.get("v001")
        hers, his = visible_version(server.store, row, "ana"), visible_version(server.store, row, "bo")
        assert SECRET in hers.description
        assert SECRET not in his.description
        assert his.description == "4 corrections: “b1”, “b2”"
        for who, shown in (("ana", hers), ("bo", his)):
            own = {each.example_id for each in server.store.examples.list() if each.principal == who}
            assert (set(shown.gate_scores["corrections"]), len(own)) == (own, 2)
        assert visible_version(server.store, row, "stranger").description == "4 corrections"


async def test_of_earlier_corrections_that_were_lost_each_is_told_his_own(start: Start) -> None:
    async with start(auto=False, max_tries=1) as server:
        await judged(server)
        owners = {each.example_id: each.principal for each in server.store.examples.list()}
        row = server.library.get("v001")
        row = msgspec.structs.replace(row, gate_scores={**row.gate_scores, "lost_earlier": list(owners)})
        for who in ("ana", "bo", "stranger"):
            lost = visible_version(server.store, row, who).gate_scores["lost_earlier"]
            assert lost == [name for name, owner in owners.items() if owner == who]


@pytest.mark.parametrize("plan", [PLAN, {"learn": False}, {"spoil": {SECRET: "add"}}])
async def test_neither_reasons_nor_runs_quote_what_anybody_taught(
    start: Start, plan: dict[str, object]
) -> None:
    async with start(auto=False, max_tries=1, plan=plan) as server:
        await judged(server)
        for version in server.library.all():
            shown = visible_version(server.store, version, "bo")
            text = json.dumps([shown.gate_reasons, shown.gate_scores, shown.description])
            assert "diary" not in text
            assert "piano" not in text
        for run in server.store.runs.list():
            assert "diary" not in run.why
        for move in server.store.aliases.history("live"):
            assert "diary" not in move.why


async def test_control_scores_as_the_log_holds_them_would_be_noticed(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted bug: the scores are handed out as they are."""
    monkeypatch.setattr(visibility, "_visible_scores", lambda _store, scores, _own, _principal: scores)
    async with start(auto=False, max_tries=1, plan=PLAN) as server:
        await judged(server)
        shown = visible_version(server.store, server.library.get("v001"), "bo")
        assert len(shown.gate_scores["corrections"]) == 4
