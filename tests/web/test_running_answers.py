"""An answer on the page belongs to the server: reloads, stops, failures and restarts lose no question and no word."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from html import unescape
from pathlib import Path
from typing import Any

import httpx
import pytest

from homefire.api.run import Server, open_listener, uvicorn_config
from homefire.errors import EngineCrashed
from homefire.store.nouns.conversation_rows import TurnRow
from homefire.web.routes import add_pages
from tests.api.house import House, close_house, open_house
from tests.serving.models import until

FORM = {"content-type": "application/x-www-form-urlencoded", "hx-request": "true"}


@asynccontextmanager
async def listening(folder: Path, **script: Any) -> AsyncIterator[tuple[House, httpx.AsyncClient]]:
    """A house with pages that listens on a port of its own."""
    house = await open_house(folder, port=0, **script)
    add_pages(house.app)
    listener = open_listener(house.app)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    ready = asyncio.Event()
    server = Server(uvicorn_config(house.app, drain_timeout_s=0), house.app, on_ready=ready.set)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    await ready.wait()
    try:
        async with httpx.AsyncClient(base_url=url, headers={"origin": url}, trust_env=False) as client:
            yield house, client
    finally:
        server.should_exit = True
        await serving
        await close_house(house)


async def ask(client: httpx.AsyncClient, text: str, session_id: str = "") -> str:
    """Ask on the page; the turn's id."""
    answer = await client.post("/web/ask", data={"message": text, "session_id": session_id}, headers=FORM)
    assert answer.status_code == 200, answer.text
    (turn_id,) = set(re.findall(r'sse-connect="/web/turns/(turn_\w+)/events"', answer.text))
    return turn_id


async def watch(client: httpx.AsyncClient, turn_id: str, *, leave_after: int | None = None) -> list[str]:
    """The names and data of the page's events; leaves after so many."""
    seen: list[str] = []
    async with client.stream("GET", f"/web/turns/{turn_id}/events", timeout=20) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        block: list[str] = []
        async for line in response.aiter_lines():
            if line:
                block.append(line.removeprefix("data: ").removeprefix("event: "))
                continue
            seen.append("\n".join(block))
            block = []
            if len(seen) == leave_after:
                break
    return seen


def turn_of(house: House, turn_id: str) -> TurnRow:
    row = house.store.turns.get(turn_id)
    assert row is not None
    return row


def shown(page: str) -> str:
    """The words of a page."""
    return unescape(re.sub(r"<[^>]+>", " ", page))


async def test_an_answer_goes_on_while_nobody_watches_and_a_reload_finds_it(tmp_path: Path) -> None:
    gate = asyncio.Event()
    async with listening(tmp_path, gate=gate) as (house, client):
        turn_id = await ask(client, "Where is the key?")
        await watch(client, turn_id, leave_after=1)
        await until(lambda: house.engines[0].num_active == 1)
        page = (await client.get(f"/chat/{turn_of(house, turn_id).session_id}")).text
        assert "Where is the key?" in page
        assert f'sse-connect="/web/turns/{turn_id}/events"' in page
        gate.set()
        events = await watch(client, turn_id)
        assert events[0].startswith("begin")
        assert "Seven, as it was yesterday" in shown(events[-2]) or "scripted" in shown(events[-2])
        assert turn_of(house, turn_id).outcome == "answered"
        page = (await client.get(f"/chat/{turn_of(house, turn_id).session_id}")).text
        assert "streaming" not in page
        assert house.engines[0].num_cancelled == 0


@pytest.mark.parametrize("leave_after", [1, 2, 3, 5])
async def test_a_reload_at_any_moment_shows_the_whole_answer(tmp_path: Path, leave_after: int) -> None:
    answer = "one two three four five six seven eight"
    async with listening(tmp_path, answer=answer, delay_s=0.06) as (house, client):
        turn_id = await ask(client, "Count.")
        await watch(client, turn_id, leave_after=leave_after)
        events = await watch(client, turn_id)
        assert answer in shown(events[-2])
        page = (await client.get(f"/chat/{turn_of(house, turn_id).session_id}")).text
        assert answer in shown(page)


async def test_an_answer_stopped_before_its_first_word_keeps_its_question(tmp_path: Path) -> None:
    gate = asyncio.Event()
    async with listening(tmp_path, gate=gate) as (house, client):
        turn_id = await ask(client, "Where is the key?")
        watching = asyncio.create_task(watch(client, turn_id))
        await until(lambda: bool(house.engines) and house.engines[0].num_active == 1)
        assert (await client.post(f"/web/turns/{turn_id}/stop", headers=FORM)).status_code == 204
        events = await watching
        assert "Stopped before the first word." in shown(events[-2])
        assert "Ask again" in shown(events[-2])
        page = (await client.get(f"/chat/{turn_of(house, turn_id).session_id}")).text
        assert "Where is the key?" in page
        assert "Ask again" in page
        gate.set()
        again = await client.post(f"/web/turns/{turn_id}/regenerate", headers=FORM)
        (new_id,) = set(re.findall(r'sse-connect="/web/turns/(turn_\w+)/events"', again.text))
        await watch(client, new_id)
        assert turn_of(house, new_id).session_id == turn_of(house, turn_id).session_id
        page = (await client.get(f"/chat/{turn_of(house, turn_id).session_id}")).text
        assert page.count('<p class="text">Where is the key?</p>') == 1
        assert "Ask again" not in page


async def test_a_failed_answer_keeps_its_question_and_says_why(tmp_path: Path) -> None:
    async with listening(tmp_path, fail_with=EngineCrashed("The engine is gone.")) as (house, client):
        turn_id = await ask(client, "Where is the key?")
        events = await watch(client, turn_id)
        assert "The engine is gone." in shown(events[-2])
        page = (await client.get(f"/chat/{turn_of(house, turn_id).session_id}")).text
        assert "Where is the key?" in page
        assert "The engine is gone." in page


async def test_what_the_last_server_left_unfinished_can_be_asked_again(tmp_path: Path) -> None:
    gate = asyncio.Event()
    async with listening(tmp_path, gate=gate) as (house, client):
        turn_id = await ask(client, "Where is the key?")
        await until(lambda: bool(house.engines) and house.engines[0].num_active == 1)
        await house.homefire.turns.stop()
        page = (await client.get(f"/chat/{turn_of(house, turn_id).session_id}")).text
        assert turn_of(house, turn_id).outcome == "interrupted"
        assert "The server stopped before" in page
        assert "Ask again" in page


async def test_a_second_question_waits_for_the_first_answer_and_is_not_lost(tmp_path: Path) -> None:
    gate = asyncio.Event()
    async with listening(tmp_path, gate=gate) as (house, client):
        turn_id = await ask(client, "first")
        session_id = turn_of(house, turn_id).session_id
        refused = await client.post(
            "/web/ask", data={"message": "second", "session_id": session_id}, headers=FORM
        )
        assert refused.status_code == 409
        assert "still being written" in refused.text
        gate.set()
        await watch(client, turn_id)
        second = await ask(client, "second", session_id)
        await watch(client, second)
        assert turn_of(house, second).session_id == session_id


async def test_a_session_is_known_from_the_first_question_on(tmp_path: Path) -> None:
    gate = asyncio.Event()
    async with listening(tmp_path, gate=gate) as (house, client):
        answer = await client.post("/web/ask", data={"message": "Hi", "session_id": ""}, headers=FORM)
        (session_id,) = re.findall(r'id="session-id" value="(\w+)" hx-swap-oob', answer.text)
        assert house.store.sessions.get(session_id) is not None
        gate.set()


async def test_another_persons_answer_is_neither_shown_nor_stopped(tmp_path: Path) -> None:
    gate = asyncio.Event()
    async with listening(tmp_path, gate=gate) as (house, client):
        turn_id = await ask(client, "mine")
        key = {"authorization": f"Bearer {house.key}"}
        theirs = await client.get(f"/web/turns/{turn_id}/events", headers=key)
        assert theirs.status_code == 404
        stopped = await client.post(f"/web/turns/{turn_id}/stop", headers={**FORM, **key})
        assert stopped.status_code == 404
        assert house.homefire.turns.is_under_way(turn_id)
        gate.set()
        await watch(client, turn_id)


async def test_programs_read_a_turn_from_any_number_on(tmp_path: Path) -> None:
    async with listening(tmp_path, answer="one two three") as (_, client):
        turn_id = await ask(client, "Count.")
        whole = await raw_events(client, turn_id)
        assert (whole[0], whole[-1][1]) == ((1, "started"), "ended")
        assert [number for number, _ in whole] == list(range(1, len(whole) + 1))
        for seen in range(len(whole) + 1):
            assert await raw_events(client, turn_id, seen=seen) == whole[seen:]
            assert await raw_events(client, turn_id, after=seen) == whole[seen:]
        came_back = await raw_events(client, turn_id, seen=3, after=1)
        assert came_back == whole[3:], "who comes back to the same address goes on where it was"
        bad = await client.get(f"/v1/turns/{turn_id}/events", headers={"last-event-id": "x"})
        assert (bad.status_code, bad.json()["error"]["details"]["param"]) == (400, "last-event-id")


async def raw_events(
    client: httpx.AsyncClient, turn_id: str, *, seen: int = 0, after: int | None = None
) -> list[tuple[int, str]]:
    headers = {"last-event-id": str(seen)} if seen else {}
    params = {"after": after} if after is not None else {}
    answer = await client.get(f"/v1/turns/{turn_id}/events", headers=headers, params=params)
    return [(int(number), name) for name, number in re.findall(r"event: (\w+)\nid: (\d+)\n", answer.text)]


async def test_a_program_stops_a_turn_and_reads_what_it_became(tmp_path: Path) -> None:
    gate = asyncio.Event()
    async with listening(tmp_path, gate=gate) as (_, client):
        turn_id = await ask(client, "Count.")
        assert (await client.get(f"/v1/turns/{turn_id}")).json()["outcome"] is None
        answer = await client.post(f"/v1/turns/{turn_id}/cancel", json={})
        assert answer.json()["outcome"] == "cancelled"
        assert (await client.post(f"/v1/turns/{turn_id}/cancel", json={})).status_code == 200


@pytest.mark.parametrize(("says", "outcome"), [("continue", "answered"), (None, "cancelled")])
async def test_what_the_end_of_a_program_means_for_its_turn_is_its_own_choice(
    tmp_path: Path, says: str | None, outcome: str
) -> None:
    gate = asyncio.Event()
    async with listening(tmp_path, gate=gate) as (house, client):
        headers = {"x-homefire-on-disconnect": says} if says else {}
        body = {"model": "default", "stream": True, "messages": [{"role": "user", "content": "Hi"}]}
        asking = asyncio.create_task(client.post("/v1/chat/completions", json=body, headers=headers))
        await until(lambda: bool(house.engines) and house.engines[0].num_active == 1)
        asking.cancel()
        await asyncio.wait([asking])
        await until(lambda: says == "continue" or not house.homefire.turns.num_running)
        gate.set()
        await until(lambda: not house.homefire.turns.num_running)
        (session,) = house.store.sessions.list("local")
        (turn,) = house.store.turns.list(session.session_id)
        assert turn.outcome == outcome
