"""Corrections on the page: their state beside the answer and in a list, taking back, changing, teaching again."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from html import unescape
from pathlib import Path

import httpx
import pytest

from homefire.chat.request import Principal
from homefire.store.api_keys import create_key
from homefire.store.nouns.examples import ExampleCreated
from homefire.training.correction_states import CorrectionState, CorrectionView
from homefire.types import Message
from homefire.web.correction_report import correction_report
from homefire.web.waiting import told_while_waiting, waiting_sentence
from homefire.world import World
from tests.api.house import REMOTE, House
from tests.web.test_running_answers import FORM, listening, watch
from tests.web.test_running_answers import ask as post_question


def view(state: CorrectionState, *, live: bool = False, run_id: str | None = None) -> CorrectionView:
    return CorrectionView(
        example_id="a" * 64, question="Where?", answer="Here.", num_messages_before=0, state=state, live=live,
        version="v002", run_id=run_id, run_state=None, why="", reasons=(), helps="",
        next="`homefire corrections` helps.",
        superseded_by=None, turn_id=None, created_at_s=0.0, seq=1,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("state", "live", "run_id", "actions"),
    [
        ("waiting", False, None, ("edit", "withdraw")),
        ("training", False, "run_1", ("edit", "withdraw")),
        ("learned", True, "run_1", ("edit", "unteach")),
        ("learned", False, "run_1", ("retry", "edit", "withdraw")),
        ("refused", False, "run_1", ("retry", "edit", "withdraw")),
        ("disputed", False, None, ("edit", "withdraw")),
        ("stranded", False, "run_1", ("retry", "edit", "withdraw")),
        ("withdrawn", False, None, ()),
        ("withdrawn", True, "run_2", ()),
        ("withdrawn", True, None, ("unteach",)),
        ("superseded", False, None, ()),
    ],
)
def test_what_can_be_done_follows_from_the_state(
    state: CorrectionState, live: bool, run_id: str | None, actions: tuple[str, ...]
) -> None:
    report = correction_report(view(state, live=live, run_id=run_id), held_up=None)
    assert report.actions == actions
    assert "`" not in report.sentence, "a page has buttons, not commands"


def words(page: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", page)).split())


async def teach(client: httpx.AsyncClient, turn_id: str, text: str) -> str:
    """The id of the correction."""
    taught = await client.post(f"/web/turns/{turn_id}/correction", data={"text": text}, headers=FORM)
    assert taught.status_code == 200, taught.text
    return re.findall(r"/web/corrections/(\w{64})/edit", taught.text)[0]


@pytest.fixture
async def taught(tmp_path: Path) -> AsyncIterator[tuple[House, httpx.AsyncClient, str, str]]:
    """A house where an answer was corrected: turn and correction."""
    async with listening(tmp_path) as (house, client):
        turn_id = await post_question(client, "Where is the key?")
        await watch(client, turn_id)
        yield house, client, turn_id, await teach(client, turn_id, "Under the pot.")


async def test_a_reload_shows_the_state_of_a_correction(
    taught: tuple[House, httpx.AsyncClient, str, str],
) -> None:
    house, client, turn_id, example_id = taught
    page = (await client.get(f"/web/turns/{turn_id}", follow_redirects=True)).text
    assert f'hx-get="/web/corrections/{example_id}/learning" hx-trigger="every' in page
    assert "should have been Under the pot. waiting Training starts in a moment." in words(page)
    await client.post(f"/web/corrections/{example_id}/withdraw", headers=FORM)
    page = (await client.get(f"/web/turns/{turn_id}", follow_redirects=True)).text
    assert "Under the pot. withdrawn You took it back." in words(page)
    assert "/learning" not in page, "nothing more will happen to it"
    assert house.store.examples.pending() == []


async def test_buttons_are_replaced_only_by_others(taught: tuple[House, httpx.AsyncClient, str, str]) -> None:
    _, client, _, example_id = taught
    path = f"/web/corrections/{example_id}/learning"
    assert "<button" not in (await client.get(path, params={"shown": "edit withdraw"})).text
    assert "<button" in (await client.get(path, params={"shown": "edit unteach"})).text


async def test_an_edited_correction_is_the_one_that_is_shown(
    taught: tuple[House, httpx.AsyncClient, str, str],
) -> None:
    house, client, turn_id, example_id = taught
    fields = {"question": "Where is the key?", "answer": "In the shed."}
    edited = await client.post(f"/web/corrections/{example_id}/edit", data=fields, headers=FORM)
    assert "In the shed. waiting" in words(edited.text)
    [example] = house.store.examples.pending()
    assert (example.answer, example.turn_id) == ("In the shed.", turn_id)
    page = (await client.get(f"/web/turns/{turn_id}", follow_redirects=True)).text
    assert "should have been In the shed." in words(page)
    again = await client.post(f"/web/corrections/{example.example_id}/edit", data=fields, headers=FORM)
    assert again.status_code == 400
    assert again.json()["error"]["message"] == "That is what the correction says already."


async def test_another_persons_corrections_are_not_there(
    taught: tuple[House, httpx.AsyncClient, str, str],
) -> None:
    house, client, _, example_id = taught
    theirs = {**FORM, "authorization": f"Bearer {house.key}"}
    for path in ("", "/learning", "/edit"):
        answer = await client.get(f"/web/corrections/{example_id}{path}", headers=theirs)
        assert answer.status_code == 404, path
    fields = {"question": "a", "answer": "b"}
    for action in ("edit", "withdraw", "retry"):
        path = f"/web/corrections/{example_id}/{action}"
        assert (await client.post(path, data=fields, headers=theirs)).status_code == 404, action
    assert "Under the pot" not in (await client.get("/corrections", headers=theirs)).text
    assert [example.example_id for example in house.store.examples.pending()] == [example_id]


async def test_the_list_comes_in_pages_newest_first(house: House) -> None:
    for number in range(45):
        messages = (Message("user", f"Question {number:02}?"), Message("assistant", "Yes."))
        await house.store.append(
            ExampleCreated(
                example_id=f"{number:064}", profile="plain", messages=messages, feedback_id=None, turn_id=None,
                principal=Principal("local").id,
            )
        )  # fmt: skip
    seen: list[str] = []
    path: str | None = "/corrections"
    async with house.client() as client:
        while path:
            page = (await client.get(path)).text
            seen += re.findall(r"Question (\d\d)\?</h2>", page)
            older = re.search(r'href="([^"]+)">Older', page)
            path = older[1] if older else None
    assert seen == [f"{number:02}" for number in reversed(range(45))]


async def test_an_answer_that_waits_says_what_for_until_its_first_word(tmp_path: Path) -> None:
    load_gate, gate = asyncio.Event(), asyncio.Event()
    async with listening(tmp_path, load_gate=load_gate, gate=gate) as (house, client):
        turn_id = await post_question(client, "Hi")
        watching = asyncio.create_task(watch(client, turn_id))
        await until_told(house, lambda waits: waits is not None)
        await asyncio.sleep(0.5)
        load_gate.set()
        await until_told(house, lambda waits: waits is None)
        await asyncio.sleep(0.5)
        gate.set()
        events = await watching
        told = [
            (words(event.partition("\n")[2]), "hidden" in event)
            for event in events
            if event.split("\n")[0] == "waiting"
        ]
        assert told == [
            ("Please wait: ember is loading.", False), ("Waiting for the model…", False), ("", True)
        ]  # fmt: skip
        names = [event.split("\n")[0] for event in events]
        assert names.index("tail") > len(names) - 1 - names[::-1].index("waiting")
        spoken = {*re.findall(r'data-announce="([^"]*)"', "".join(events[:4]))}
        assert spoken == {"Waiting for the answer.", ""}, "heard once, whatever is read"


async def until_told(house: House, is_so: Callable[[object], bool]) -> None:
    [session] = house.store.sessions.list("local")
    for _ in range(500):
        if is_so(house.homefire.serving.waiting_of(session.session_id)):
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never came to that")


async def test_events_come_through_whole_with_or_without_waiting() -> None:
    async def events(pause: asyncio.Event) -> AsyncIterator[int]:
        await pause.wait()
        for number in range(3):
            yield number

    opened, closed = asyncio.Event(), asyncio.Event()
    opened.set()
    assert [item async for item in told_while_waiting(events(opened), lambda: "w")] == [0, 1, 2]
    sentences = iter(["a", "a", "b"])

    def look() -> str:
        sentence = next(sentences)
        if sentence == "b":
            closed.set()
        return sentence

    told = [item async for item in told_while_waiting(events(closed), look, every_s=0.01)]
    assert told == ["a", "b", 0, 1, 2]


def test_waiting_for_nothing_that_is_known_is_still_waiting() -> None:
    assert waiting_sentence(None) == "Waiting for the model…"


async def test_the_owner_sees_on_what_people_disagree_and_settles_it_and_nobody_else_does(
    taught: tuple[House, httpx.AsyncClient, str, str],
) -> None:
    house, client, _, taught_before = taught
    question = (Message("user", "Who feeds the cat?"),)
    _, hers = [
        (await house.homefire.training.correct(question, answer=answer, principal=who)).example_id
        for who, answer in (("bo", "Bo does."), ("ana", "Ana does."))
    ]
    page = (await client.get("/corrections")).text
    assert "People disagree on “Who feeds the cat?”" in page
    assert "“Ana does.”" in page
    assert page.count("Keep this answer") == 2
    key, created = create_key(World(), name="other")
    await house.store.append(created)
    async with house.client(REMOTE, headers={"x-api-key": key}) as stranger:
        for path in ("/corrections", "/v1/queue"):
            shown = await stranger.get(path)
            assert shown.status_code == 200
            assert "Ana does." not in shown.text
        refused = await stranger.post(f"/web/corrections/{hers}/settle", headers=FORM)
        assert refused.status_code == 403
    assert len(house.store.examples.disputed()) == 2
    kept = await client.post(f"/web/corrections/{hers}/settle", headers=FORM)
    assert (kept.status_code, kept.headers["location"]) == (303, "/corrections")
    assert "People disagree" not in (await client.get("/corrections")).text
    assert {row.example_id for row in house.store.examples.pending()} == {taught_before, hers}
