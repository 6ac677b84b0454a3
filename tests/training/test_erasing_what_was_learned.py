"""Erasing what a version learned already: nothing of it is left but what the report names."""

from __future__ import annotations

import pytest

from homefire.home import Home
from homefire.types import Message
from homefire.versions.asking import AnswerCache
from tests.store.samples import ended, turn
from tests.training.test_daemon import Start, start
from tests.training.test_hostages import settle

__all__ = ["start"]

QUESTION, ANSWER = "Where does Zanzibarmarker live?", "In Quuxhausen, number 77."


def holding(home: Home) -> set[str]:
    """The files of a home that hold the question or the answer."""
    words = (QUESTION.encode(), ANSWER.encode())
    files = (path for path in home.root.rglob("*") if path.is_file() and "homefire.db" not in path.name)
    return {str(path) for path in files if any(word in path.read_bytes() for word in words)}


async def check(start: Start) -> None:
    async with start(auto=False) as server:
        await server.store.append(turn("1", messages=(Message("user", QUESTION),)), ended("1"))
        await server.training.feedback("turn-1", verdict="correction", text=ANSWER, principal="local")
        await server.training.queue()
        await settle(server)
        answers = str(server.home.cache / "answers")
        assert any(path.startswith(answers) for path in holding(server.home)), "the gate keeps answers"
        await server.training.erase("s1", principal="local", why="private", dry_run=True)
        assert any(path.startswith(answers) for path in holding(server.home)), "a dry run does nothing"
        report = await server.training.erase("s1", principal="local", why="private", dry_run=False)
        (correction,) = report.corrections
        assert (correction.was_waiting, correction.known_to) == (False, "v001")
        in_a_version = (str(server.home.versions), str(server.home.blobs))
        left = {path for path in holding(server.home) if not path.startswith(in_a_version)}
        assert left <= set(report.files), left - set(report.files)


async def test_every_file_that_still_holds_it_is_named(start: Start) -> None:
    await check(start)


async def test_planted_bug_a_cache_that_forgets_nothing_is_noticed(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(AnswerCache, "forget", lambda self, texts: None)
    with pytest.raises(AssertionError, match="answers"):
        await check(start)
