"""Sessions are continued by id or by what was said, and only by those they belong to."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from homefire.chat import position
from homefire.errors import Conflict, Forbidden, InvalidRequest, NotFound
from homefire.store.nouns.conversation_rows import MessageRow
from homefire.store.store import Store
from homefire.training.erasure import Erasure
from homefire.types import Message
from tests.chat.talk import ANN, BOB, answered, request, system, talking
from tests.serving.models import FakeCatalog, until
from tests.support.scripted_engine import ScriptedEngine

ANSWER = answered("Hello there, I am scripted.")


async def test_a_named_session_is_continued_with_all_that_was_said(tmp_path: Path) -> None:
    async with talking(tmp_path) as talk:
        first, _, _ = await talk.say("Hi")
        second, _, _ = await talk.say("And?", session_id=first.session_id)
        assert second.session_id == first.session_id
        assert talk.prompts()[-1] == (Message("user", "Hi"), ANSWER, Message("user", "And?"))
        session = talk.store.sessions.get(first.session_id)
        assert session is not None
        assert session.num_turns == 2
        assert len(talk.store.messages.path(talk.last_turn().answer_message_id or "")) == 4


async def test_a_client_that_sends_the_whole_conversation_continues_it(tmp_path: Path) -> None:
    async with talking(tmp_path) as talk:
        rules = system("Be brief.")
        first, _, _ = await talk.say(rules, "Hi", principal=ANN)
        second, _, _ = await talk.say(rules, "Hi", ANSWER, "And?", principal=ANN)
        third, _, _ = await talk.say(rules, "Hi", ANSWER, "And?", ANSWER, "So?", principal=ANN)
        assert first.session_id == second.session_id == third.session_id
        assert [[message.role for message in talk.said_in(turn)] for turn in talk.recorded()] == [
            ["system", "user", "assistant"],
            ["user", "assistant"],
            ["user", "assistant"],
        ]


@pytest.mark.parametrize(
    "changed",
    [
        (system("Be loud."), "Hi", ANSWER, "And?"),
        (system("Be brief."), "Hi!", ANSWER, "And?"),
        (system("Be brief."), "Hi", answered("Hello"), "And?"),
        ("Hi", ANSWER, "And?"),
    ],
)
async def test_a_conversation_that_differs_in_anything_opens_its_own_session(
    tmp_path: Path, changed: tuple[Message | str, ...]
) -> None:
    async with talking(tmp_path) as talk:
        first, _, _ = await talk.say(system("Be brief."), "Hi")
        second, _, _ = await talk.say(*changed)
        assert second.session_id != first.session_id
        assert len(talk.said_in(talk.last_turn())) == len(changed) + 1


async def test_the_same_words_of_someone_else_are_their_own_conversation(tmp_path: Path) -> None:
    async with talking(tmp_path) as talk:
        first, _, _ = await talk.say("Hi", principal=ANN)
        second, _, _ = await talk.say("Hi", ANSWER, "And?", principal=BOB)
        assert second.session_id != first.session_id
        assert talk.recorded()[-1].parent_message_id is None


async def test_somebody_elses_session_and_turn_do_not_exist_for_a_caller(tmp_path: Path) -> None:
    async with talking(tmp_path) as talk:
        first, _, _ = await talk.say("My secret is 7.", principal=ANN)
        with pytest.raises(NotFound) as theirs:
            await talk.say("Which?", session_id=first.session_id, principal=BOB)
        with pytest.raises(NotFound) as nobodys:
            await talk.say("Which?", session_id="ses_unknown", principal=BOB)
        assert theirs.value.message.replace(first.session_id, "ses_unknown") == nobodys.value.message
        with pytest.raises(NotFound):
            await talk.say(replaces_turn_id=first.turn_id, principal=BOB)
        assert len(talk.recorded()) == 1


async def test_control_a_place_in_somebody_elses_session_is_refused_by_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with talking(tmp_path) as talk:
        await talk.say("Hi", principal=ANN)
        (anns,) = talk.store.sessions.list("ann")
        assert anns.tip_message_id is not None
        tip = talk.store.messages.path(anns.tip_message_id)[-1]

        def leaky(store: object, asked: object) -> position.TurnPosition:
            return position.TurnPosition(
                anns.session_id, anns.key, tip.message_id, (), (Message("user", "x"),)
            )

        monkeypatch.setattr(position, "_continued_by_messages", leaky)
        with pytest.raises(Forbidden):
            await talk.say("Hi", ANSWER, "And?", principal=BOB)
        assert len(talk.recorded()) == 1


async def test_control_a_lookup_that_leaks_lets_nobody_into_a_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with talking(tmp_path) as talk:
        first, _, _ = await talk.say("Hi", principal=ANN)
        monkeypatch.setattr(position.digest, "root", lambda principal: bytes(16))
        found: list[MessageRow] = talk.store.messages.path(talk.last_turn().answer_message_id or "")
        monkeypatch.setattr(type(talk.store.messages), "by_digest", lambda self, principal, digest: found[-1])
        second, _, _ = await talk.say("Hi", ANSWER, "And?", principal=BOB)
        assert second.session_id != first.session_id


async def test_regenerating_answers_the_same_question_again_as_a_sibling(tmp_path: Path) -> None:
    answers = iter(["first", "second", "third"])
    catalog = FakeCatalog(make=lambda files: ScriptedEngine(files, answer=lambda request: next(answers)))
    async with talking(tmp_path, catalog=catalog) as talk:
        first, _, _ = await talk.say("Hi")
        again, text, ended = await talk.say(replaces_turn_id=first.turn_id)
        assert text == "second"
        assert again.session_id == first.session_id
        assert talk.prompts() == [(Message("user", "Hi"),)] * 2
        turn, sibling = (talk.store.turns.get(one.turn_id) for one in (first, again))
        assert turn is not None
        assert sibling is not None
        assert turn.user_message_id == sibling.user_message_id
        assert turn.answer_message_id != sibling.answer_message_id == ended.message_id
        await talk.say("So?", session_id=first.session_id)
        assert talk.prompts()[-1][1] == answered("second"), "the newest answer is where it goes on"


async def test_a_client_that_goes_back_to_an_older_answer_branches_the_session(tmp_path: Path) -> None:
    async with talking(tmp_path) as talk:
        first, _, _ = await talk.say("Hi")
        await talk.say("Hi", ANSWER, "And?")
        branch, _, _ = await talk.say("Hi", ANSWER, "Something else")
        assert branch.session_id == first.session_id
        assert talk.recorded()[1].parent_message_id == talk.recorded()[2].parent_message_id


async def test_regenerating_needs_a_turn_that_exists_and_its_own_session(tmp_path: Path) -> None:
    async with talking(tmp_path) as talk:
        first, _, _ = await talk.say("Hi")
        with pytest.raises(NotFound):
            await talk.say(replaces_turn_id="turn_unknown")
        with pytest.raises(InvalidRequest):
            await talk.say(replaces_turn_id=first.turn_id, session_id="ses_other")


async def test_a_turn_without_a_question_cannot_be_regenerated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with talking(tmp_path) as talk:
        first, _, _ = await talk.say("Hi")
        bare = msgspec.structs.replace(talk.last_turn(), user_message_id=None)
        monkeypatch.setattr(type(talk.store.turns), "get", lambda self, turn_id: bare)
        with pytest.raises(Conflict):
            await talk.say(replaces_turn_id=first.turn_id)


async def test_a_model_is_told_nothing_of_an_exchange_that_was_erased(tmp_path: Path) -> None:
    async with talking(tmp_path) as talk:
        first, _, _ = await talk.say("My number is 4711")
        await talk.say("Hi", session_id=first.session_id)
        await erase(talk.store, talk.recorded()[0].user_message_id)
        await talk.say("And?", session_id=first.session_id)
        assert talk.prompts()[-1] == (Message("user", "Hi"), ANSWER, Message("user", "And?"))
        with pytest.raises(Conflict, match="was erased"):
            await talk.say(replaces_turn_id=first.turn_id)


async def test_a_conversation_that_was_erased_begins_again(tmp_path: Path) -> None:
    async with talking(tmp_path) as talk:
        first, _, _ = await talk.say("My number is 4711")
        await erase(talk.store, first.session_id)
        assert talk.store.sessions.list("local") == [], "the list of conversations does not hold it"
        await talk.say("And?", session_id=first.session_id)
        assert talk.prompts()[-1] == (Message("user", "And?"),)
        [session] = talk.store.sessions.list("local")
        assert (session.session_id, session.num_turns) == (first.session_id, 1)
        talk.store.rebuild()
        assert talk.store.sessions.list("local") == [session]


async def erase(store: Store, subject: str | None) -> None:
    assert subject is not None
    erasure = Erasure(store, store.home, subject, principal="local", live="ember")
    await store.append(*erasure.events(why="private"))


async def test_two_turns_of_one_session_never_interleave(tmp_path: Path) -> None:
    async with talking(tmp_path) as talk:
        first, _, _ = await talk.say("Hi")
        await asyncio.gather(*(talk.say(f"q{index}", session_id=first.session_id) for index in range(5)))
        prompts = talk.prompts()[1:]
        assert [len(prompt) for prompt in prompts] == [3, 5, 7, 9, 11]
        session = talk.store.sessions.get(first.session_id)
        assert session is not None
        assert session.tip_message_id is not None
        assert len(talk.store.messages.path(session.tip_message_id)) == 12


async def test_requests_that_name_no_session_run_side_by_side(tmp_path: Path) -> None:
    gate = asyncio.Event()
    catalog = FakeCatalog(make=lambda files: ScriptedEngine(files, gate=gate))
    async with talking(tmp_path, catalog=catalog) as talk:
        tasks = [asyncio.create_task(talk.say("Hi")) for _ in range(3)]
        await until(lambda: bool(catalog.engines) and catalog.engines[0].num_active == 3)
        gate.set()
        assert len({started.session_id for started, _, _ in await asyncio.gather(*tasks)}) == 3


async def test_one_who_waits_for_a_session_can_leave(tmp_path: Path) -> None:
    gate = asyncio.Event()
    gate.set()
    catalog = FakeCatalog(make=lambda files: ScriptedEngine(files, gate=gate))
    async with talking(tmp_path, catalog=catalog) as talk:
        first, _, _ = await talk.say("Hi")
        gate.clear()
        running = asyncio.create_task(talk.say("one", session_id=first.session_id))
        await until(lambda: catalog.engines[0].num_active == 1)
        waiting = asyncio.create_task(talk.say("two", session_id=first.session_id))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        gate.set()
        await running
        assert [turn.outcome for turn in talk.recorded()] == ["answered", "answered"]


async def test_a_raw_prompt_is_recorded_as_a_conversation_of_its_own(tmp_path: Path) -> None:
    async with talking(tmp_path, chat={"system_prompt": "Be kind."}) as talk:
        await talk.say(prompt="Once upon")
        (engine,) = talk.catalog.engines
        assert (engine.requests[0].prompt, engine.requests[0].messages) == ("Once upon", ())
        assert [message.content for message in talk.said_in(talk.recorded()[0])] == [
            "Once upon",
            ANSWER.content,
        ]


def test_requests_are_built_from_plain_words() -> None:
    assert request("hi").messages == (Message("user", "hi"),)
