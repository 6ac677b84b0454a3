"""Erasing on the page asks first, says what stays, and needs no script; settling a disagreement is the owner's."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import pytest

from homefire.store.nouns.examples import ExampleCreated
from homefire.types import Message
from tests.api.house import REMOTE, House
from tests.web.test_running_answers import FORM, listening, watch
from tests.web.test_running_answers import ask as post_question

SECRET = "My number is 4711 in the blue book."


def words(page: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", page)).split())


async def test_looking_at_what_would_go_erases_nothing(tmp_path: Path) -> None:
    async with listening(tmp_path) as (house, client):
        turn_id = await post_question(client, SECRET)
        await watch(client, turn_id)
        await client.post(f"/web/turns/{turn_id}/correction", data={"text": "Noted."}, headers=FORM)
        [session] = house.store.sessions.list("local")
        path = f"/chat/{session.session_id}/erase"
        asked = words((await client.get(path)).text)
        assert "2 messages will go for good" in asked
        assert "1 correction made here is withdrawn and erased with it." in asked
        assert len(house.store.examples.pending()) == 1
        assert SECRET in (await client.get(f"/chat/{session.session_id}")).text
        done = words((await client.post(path, headers=FORM)).text)
        assert "2 messages of this conversation are gone for good." in done
        assert house.store.examples.pending() == []
        assert SECRET not in (await client.get(f"/chat/{session.session_id}")).text
        again = words((await client.get(path)).text)
        assert "What was said here is erased already." in again
        assert "Erase for good" not in again


@pytest.fixture
async def disagreement(house: House) -> tuple[House, list[str]]:
    """Two people answer one question differently."""
    names = ["a" * 64, "b" * 64]
    for name, answer, principal in zip(
        names, ("In the shed.", "In the hall."), ("local", "other"), strict=True
    ):
        messages = (Message("user", "Where is the key?"), Message("assistant", answer))
        await house.store.append(
            ExampleCreated(
                example_id=name, profile="plain", messages=messages, feedback_id=None, turn_id=None,
                principal=principal,
            )
        )  # fmt: skip
    return house, names


async def test_the_owner_settles_a_disagreement_on_the_page(disagreement: tuple[House, list[str]]) -> None:
    house, (_, his) = disagreement
    async with house.client() as client:
        page = (await client.get("/corrections")).text
        assert "People disagree" in page
        assert page.count("Keep this answer") == 2
        kept = await client.post(f"/web/corrections/{his}/settle", headers=FORM)
        assert (kept.status_code, kept.headers["location"]) == (303, "/corrections")
        assert "People disagree" not in (await client.get("/corrections")).text
    assert [row.example_id for row in house.store.examples.pending()] == [his]


async def test_nobody_else_settles_it(disagreement: tuple[House, list[str]]) -> None:
    house, (_, his) = disagreement
    async with house.client(REMOTE) as client:
        answer = await client.post(f"/web/corrections/{his}/settle", headers=FORM)
    assert answer.status_code in (401, 403)
    assert len(house.store.examples.disputed()) == 2
