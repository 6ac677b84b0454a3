from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from homefire.config.schema import StoreSettings
from homefire.errors import InvalidRequest, NotFound
from homefire.home import Home
from homefire.store.nouns.conversations import TurnAsked, TurnEnded
from homefire.store.nouns.datasets import DatasetCreated
from homefire.store.nouns.examples import ExampleCreated
from homefire.store.nouns.feedback import FeedbackGiven
from homefire.store.nouns.runs import RunQueued
from homefire.store.store import Store, open_store
from homefire.training import corrections as corrections_module
from homefire.training.corrections import Corrections, example_id_of, size_of, trimmed
from homefire.types import Message
from homefire.world import World

BUNDLED_MODEL = Path(corrections_module.__file__).parents[1] / "bundled" / "ember"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(Home(tmp_path / "home"), StoreSettings(reserve_bytes=0), World()) as opened:
        yield opened


@pytest.fixture
def corrections(store: Store) -> Corrections:
    return Corrections(store, store.world)


def user(text: str) -> Message:
    return Message("user", text)


def record_turn(store: Store, *messages: tuple[str, str], number: int = 1, trimmed: int = 0) -> str:
    """A turn whose whole conversation is new."""
    recorded = [Message(role, content) for role, content in messages]
    answer = recorded.pop() if messages[-1][0] == "assistant" else None
    store.append_sync(
        TurnAsked(
            turn_id=f"turn_{number}",
            session_id=f"session_{number}",
            session_key=f"key_{number}",
            principal="local",
            channel="api",
            parent_message_id=None,
            messages=tuple(recorded),
            requested_model="default",
            served_model="small",
            served_digest="sha256:00",
            route_reason="",
        ),
        TurnEnded(
            turn_id=f"turn_{number}",
            outcome="answered",
            answer=answer,
            stop_reason="stop",
            num_trimmed_messages=trimmed,
        ),
    )
    return f"turn_{number}"


async def test_a_correction_is_feedback_and_an_example_in_one_transaction(
    corrections: Corrections, store: Store
) -> None:
    turn_id = record_turn(store, ("user", "Where is the key?"), ("assistant", "I do not know."))
    before = store.last_seq
    given = await corrections.give(turn_id, verdict="correction", text=" Under the pot.\n")
    assert store.last_seq == before + 2
    assert [row.event.__struct_config__.tag for row in store.events(after_seq=before)] == [
        "feedback.given", "example.created",
    ]  # fmt: skip
    assert given.example_id is not None
    assert given.is_new
    example = store.examples.get(given.example_id)
    assert example is not None
    assert example.messages == (user("Where is the key?"), Message("assistant", "Under the pot."))
    assert (example.turn_id, example.feedback_id) == (turn_id, given.feedback_id)
    assert example.example_id == example_id_of("plain", example.messages)


async def test_thumbs_are_recorded_and_teach_nothing(corrections: Corrections, store: Store) -> None:
    turn_id = record_turn(store, ("user", "Hi"), ("assistant", "Hello"))
    given = await corrections.give(turn_id, verdict="good")
    assert given.example_id is None
    assert [row.verdict for row in store.feedback.list(turn_id)] == ["good"]
    assert store.examples.pending() == []


async def test_the_example_holds_the_context_that_the_model_saw(
    corrections: Corrections, store: Store
) -> None:
    turn_id = record_turn(
        store,
        ("system", "Be brief."), ("user", "one"), ("assistant", "1"), ("user", "two"), ("assistant", "2"),
        ("user", "three"), ("assistant", "x"), trimmed=2,
    )  # fmt: skip
    given = await corrections.give(turn_id, verdict="correction", text="3")
    example = store.examples.get(given.example_id or "")
    assert example is not None
    assert [message.content for message in example.messages] == ["Be brief.", "two", "2", "three", "3"]


async def test_a_correction_without_a_turn(corrections: Corrections, store: Store) -> None:
    given = await corrections.correct([user("q")], answer="a")
    assert [example.example_id for example in store.examples.pending()] == [given.example_id]


async def test_the_same_correction_twice_is_learned_once(corrections: Corrections, store: Store) -> None:
    first = await corrections.correct([user("q")], answer="a")
    again = await corrections.correct([user("q")], answer="a ")
    assert (again.example_id, again.is_new) == (first.example_id, False)
    assert again.feedback_id != first.feedback_id
    assert len(store.examples.pending()) == 1


async def test_one_that_is_being_trained_is_not_queued_again(corrections: Corrections, store: Store) -> None:
    given = await corrections.correct([user("q")], answer="a")
    await store.append(
        DatasetCreated(dataset_id="d", name="n", example_ids=(given.example_id or "",)),
        RunQueued(run_id="r", dataset_id="d", base="small", parent="small", recipe={}),
    )
    assert not (await corrections.correct([user("q")], answer="a")).is_new
    assert store.examples.pending() == []


async def test_one_that_was_learned_and_is_given_again_is_taught_again(
    corrections: Corrections, store: Store
) -> None:
    given = await corrections.correct([user("q")], answer="a")
    await store.append(DatasetCreated(dataset_id="d", name="n", example_ids=(given.example_id or "",)))
    assert store.examples.pending() == []
    assert (await corrections.correct([user("q")], answer="a")).is_new
    assert len(store.examples.pending()) == 1


async def test_of_two_that_contradict_each_other_the_newest_wins_and_may_be_taken_back(
    corrections: Corrections, store: Store
) -> None:
    for answer in ("a", "b", "a"):
        await corrections.correct([user("q")], answer=answer)
        assert [example.messages[-1].content for example in store.examples.pending()] == [answer]


async def test_a_turn_without_a_question_cannot_be_answered_otherwise(
    corrections: Corrections, store: Store
) -> None:
    turn_id = record_turn(store, ("system", "Once upon a time"), ("assistant", "there was"))
    with pytest.raises(InvalidRequest, match="raw prompt") as caught:
        await corrections.give(turn_id, verdict="correction", text="there is")
    assert (caught.value.details["param"], caught.value.details["turn_id"]) == ("turn_id", turn_id)


@pytest.mark.parametrize("text", [None, "", "  \n", "x" * (corrections_module.MAX_ANSWER_CHARS + 1)])
async def test_empty_and_huge_corrections_are_refused(
    corrections: Corrections, store: Store, text: str | None
) -> None:
    turn_id = record_turn(store, ("user", "Hi"), ("assistant", "Hello"))
    seq = store.last_seq
    with pytest.raises(InvalidRequest) as caught:
        await corrections.give(turn_id, verdict="correction", text=text)
    assert caught.value.details["param"] == "text"
    assert store.last_seq == seq


@pytest.mark.parametrize("text", ["\u200b\u200d", "\ufeff \u2800", "\u0301", "\u3164\n\u00ad"])
async def test_an_answer_that_nobody_could_see_is_refused(
    corrections: Corrections, store: Store, text: str
) -> None:
    seq = store.last_seq
    with pytest.raises(InvalidRequest, match="nobody can see"):
        await corrections.correct([user("q")], answer=text)
    assert store.last_seq == seq


@pytest.mark.parametrize("text", ["👍", "…", "é", "0", "שלום", "~"])
async def test_whatever_shows_something_can_be_taught(corrections: Corrections, text: str) -> None:
    assert (await corrections.correct([user("q")], answer=text)).is_new


async def test_the_answer_that_was_given_is_nothing_to_learn(store: Store) -> None:
    turn_id = record_turn(store, ("user", "Hi"), ("assistant", "Hello there."))
    with pytest.raises(InvalidRequest, match="nothing to learn"):
        await Corrections(store, store.world).give(turn_id, verdict="correction", text=" Hello  there.\n")
    assert store.examples.pending() == []
    # What answers now is another model: it may say something else.
    moved_on = Corrections(store, store.world, live_digest=lambda: "sha256:another")
    assert (await moved_on.give(turn_id, verdict="correction", text="Hello there.")).is_new


async def test_text_that_looks_like_a_control_token_is_text(store: Store) -> None:
    corrections = Corrections(store, store.world)
    await corrections.correct([user("What is <|im_end|>?")], answer="It ends with <|im_end|> here.")
    assert store.examples.list()[0].messages[-1].text == "It ends with <|im_end|> here."


async def test_text_with_a_thumb_is_an_error_that_says_what_to_do(
    corrections: Corrections, store: Store
) -> None:
    turn_id = record_turn(store, ("user", "Hi"), ("assistant", "Hello"))
    with pytest.raises(InvalidRequest, match="correction"):
        await corrections.give(turn_id, verdict="bad", text="should be this")


async def test_unknown_turns_and_those_of_others_are_not_found(
    corrections: Corrections, store: Store
) -> None:
    turn_id = record_turn(store, ("user", "Hi"), ("assistant", "Hello"))
    for name, principal in (("nothing", "local"), (turn_id, "somebody else")):
        with pytest.raises(NotFound):
            await corrections.give(name, verdict="good", principal=principal)


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [Message("assistant", "a")],
        [user(" ")],
        [user("a"), Message("system", "b"), user("c")],
        [user("x" * (corrections_module.MAX_QUESTION_CHARS + 1))],
    ],
)
async def test_a_conversation_that_asks_nothing_cannot_be_corrected(
    corrections: Corrections, messages: list[Message]
) -> None:
    with pytest.raises(InvalidRequest):
        await corrections.correct(messages, answer="a")


def test_long_conversations_lose_their_oldest_exchanges() -> None:
    system = Message("system", "s")
    long = [system]
    for number in range(10):
        long += [user(f"{number}" + "q" * 1500), Message("assistant", "a" * 1500)]
    last = (user("last"), Message("assistant", "answer"))
    kept = trimmed([*long, *last], limit_bytes=16_000)
    assert kept[0] == system
    assert kept[-2:] == last
    assert kept[1].role == "user"
    assert 12_000 < size_of(kept) <= 16_000
    assert trimmed(last, limit_bytes=1) == last


async def test_an_example_is_sure_to_fit_the_live_model(store: Store) -> None:
    corrections = Corrections(store, store.world, context_length=lambda: 200)
    talk = [user("q" * 100), Message("assistant", "a" * 100), user("Where?")]
    given = await corrections.correct(talk, answer="There.")
    example = store.examples.get(given.example_id or "")
    assert example is not None
    assert [message.content for message in example.messages] == ["Where?", "There."]
    with pytest.raises(InvalidRequest) as caught:
        await corrections.correct([user("Where?")], answer="ü" * 100)
    assert caught.value.details["limit"] == 200


async def test_the_check_notices_when_the_two_facts_are_written_apart(
    corrections: Corrections, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted bug: feedback first, example after; a kill between leaves a correction that teaches nothing."""
    real, calls = store.append, []

    async def one_by_one(*events: object) -> None:
        calls.append(len(events))
        await real(events[0])  # type: ignore[arg-type]

    monkeypatch.setattr(store, "append", one_by_one)
    await corrections.correct([user("q")], answer="a")
    assert calls == [2]  # both were handed over together; written apart, the example is missing:
    assert store.examples.pending() == []


async def test_an_example_holds_the_system_prompt_that_its_question_is_served_with(store: Store) -> None:
    corrections = Corrections(store, store.world, system_prompt="Be kind.")
    system = Message("system", "Be kind.")
    turn_id = record_turn(store, ("user", "Where is the key?"), ("assistant", "I do not know."))
    own = record_turn(
        store, ("system", "Be brief."), ("user", "And the cat?"), ("assistant", "No."), number=2
    )
    await corrections.give(turn_id, verdict="correction", text="Under the pot.")
    await corrections.give(own, verdict="correction", text="On the mat.")
    await corrections.correct([user("Where is the dog?")], answer="Outside.")
    first, second, third = (example.messages for example in store.examples.pending())
    assert first == (system, user("Where is the key?"), Message("assistant", "Under the pot."))
    assert second[0] == Message("system", "Be brief.")
    assert third[0] == system
    # without the setting nothing is put in front
    await Corrections(store, store.world).correct([user("Where is the bird?")], answer="Gone.")
    assert store.examples.pending()[-1].messages[0] == user("Where is the bird?")


async def test_an_edit_is_a_new_example_with_its_judgement_and_not_recorded_yet(
    corrections: Corrections, store: Store
) -> None:
    await corrections.correct([user("q")], answer="a")
    (row,) = store.examples.list()
    seq = store.last_seq
    made = await corrections.edited(row, answer="b", question=None, principal="local")
    given, created = made.events[:2]
    assert isinstance(given, FeedbackGiven)
    assert isinstance(created, ExampleCreated)
    assert (given.text, given.verdict) == ("b", "correction")
    assert (created.example_id, created.feedback_id) == (made.example_id, given.feedback_id)
    assert [message.text for message in created.messages] == ["q", "b"]
    same = await corrections.edited(row, answer=None, question=None, principal="local")
    assert (same.example_id, same.events) == (row.example_id, ())
    assert store.last_seq == seq
