"""Erasing on the page asks first, says what stays, and needs no script."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

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
