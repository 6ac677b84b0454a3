"""From "this should have been …" to something that can be learned, durably.

A correction becomes two facts in one transaction: the feedback, and an example whose id is the hash of its
content. When a call here returns, both survive a power cut. Thumbs are recorded as feedback alone.

What an example holds: the whole conversation the model saw up to the corrected question, not the question
alone, and the configured system prompt in front where the conversation brings none (so it was asked, so it will
be asked again). An answer often depends on what was said before ("And in winter?"), and a question without its context
would be taught as if it had none. Long conversations are cut from the front, whole exchanges at a time, until
they are sure to fit the live model: a byte is never more than one token, so that needs no tokenizer, and one
over-long example cannot spoil a run for the others. The system message and the last question always stay.
That the last question on its own, in a new chat, gets the new answer too is the dataset's business
(`datasets.py`), where it is known whether two corrections give different answers to it.

What cannot be learned as it is written is refused here, with the reason, instead of run after run by the gate: an
answer nobody could see, or the very answer that was given. Text is text: what looks like a control token of the
model is learned as the characters it is made of.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Callable, Sequence
from typing import Any, Literal

import msgspec

from homefire.errors import InvalidRequest
from homefire.sessions.ownership import turn_of
from homefire.store.events import Event
from homefire.store.nouns.conversation_rows import TurnRow
from homefire.store.nouns.conversations import Verdict
from homefire.store.nouns.examples import CorrectionWithdrawn, ExampleCreated, ExampleRow, prompt_digest
from homefire.store.nouns.feedback import FeedbackGiven
from homefire.store.store import Store
from homefire.types import Message
from homefire.versions.agreement import normalise
from homefire.versions.manifest import canonical_json
from homefire.world import World

PROFILE = "plain"
MAX_ANSWER_CHARS = 8_000
MAX_QUESTION_CHARS = 8_000
MAX_CONTEXT_BYTES = 32_000
"""Bytes of a whole example at most, however much the model could hold."""
MESSAGE_BYTES = 16
"""Allowed for what the chat template puts around each message."""
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
"""Characters of other categories that show nothing, either: fillers, joiners, the empty braille cell."""
_ACTIVE: tuple[Literal["queued", "running", "paused"], ...] = ("queued", "running", "paused")


class FeedbackReceipt(msgspec.Struct, frozen=True, kw_only=True):
    """What became of feedback. `example_id` is there for corrections.

    `is_new` is false when the very same correction waits or trains already; it is then learned once.
    """

    feedback_id: str
    example_id: str | None = None
    is_new: bool = False


class Edited(msgspec.Struct, frozen=True, kw_only=True):
    """A correction made from another one: its identity, and the events that record it."""

    example_id: str
    prompt_digest: str
    events: tuple[Event, ...]


class Corrections:
    """Takes feedback and corrections."""

    def __init__(
        self,
        store: Store,
        world: World,
        *,
        context_length: Callable[[], int | None] = lambda: None,
        live_digest: Callable[[], str | None] = lambda: None,
        system_prompt: str | None = None,
        owners: Callable[[], frozenset[str]] = frozenset,
    ) -> None:
        """`context_length` and `live_digest` tell of the live model; None: not known.

        `system_prompt` is what conversations without one are served with. `owners` are principals that are one
        person.
        """
        self._owners = owners
        self._store, self._world, self._context_length = store, world, context_length
        self._live_digest, self._system_prompt = live_digest, system_prompt

    async def give(
        self, turn_id: str, *, verdict: Verdict, text: str | None = None, principal: str = "local"
    ) -> FeedbackReceipt:
        """Feedback on a turn; with the verdict `correction`, `text` is what the answer should have been.

        Raises NotFound (also for another principal's turn) and InvalidRequest, which names the field.
        """
        turn = turn_of(self._store, principal, turn_id)
        if verdict != "correction":
            if text is not None and text.strip():
                raise InvalidRequest(
                    "`text` says what the answer should have been; it belongs to the verdict `correction`.",
                    hint="Send verdict `correction`, or no text.",
                    param="text",
                )
            feedback = self._feedback(turn_id, verdict=verdict, text=None, principal=principal)
            await self._store.append(feedback)
            return FeedbackReceipt(feedback_id=feedback.feedback_id)
        answer = checked_answer(text)
        self._check_differs(turn, answer)
        messages = self._fitted((*self._context(turn), answer))
        return await self._record(messages, turn_id=turn_id, principal=principal)

    async def correct(
        self, messages: Sequence[Message], *, answer: str, principal: str = "local"
    ) -> FeedbackReceipt:
        """A correction without a turn: the answer to these messages, the last of which is the user's."""
        fitted = self._fitted((*checked_context(messages), checked_answer(answer)))
        return await self._record(fitted, turn_id=None, principal=principal)

    async def edited(
        self, example: ExampleRow, *, answer: str | None, question: str | None, principal: str
    ) -> Edited:
        """The correction with another answer or question, not recorded yet. Raises InvalidRequest."""
        *context, asked, said = example.messages
        if question is not None:
            asked = Message(asked.role, question)
        if answer is not None:
            said = checked_answer(answer)
        messages = self._fitted((*checked_context((*context, asked)), said))
        example_id, events = example_id_of(PROFILE, messages), list[Event]()
        if not self._is_on_its_way(example_id):
            feedback = self._feedback(
                example.turn_id, verdict="correction", text=said.text, principal=principal
            )
            events = [feedback, self._created(example_id, messages, feedback)]
            events.extend(self._replaced(example_id, messages, principal))
        return Edited(example_id=example_id, prompt_digest=prompt_digest(messages), events=tuple(events))

    async def _record(
        self, messages: tuple[Message, ...], *, turn_id: str | None, principal: str
    ) -> FeedbackReceipt:
        text = messages[-1].text
        feedback = self._feedback(turn_id, verdict="correction", text=text, principal=principal)
        example_id = example_id_of(PROFILE, messages)
        is_new = not self._is_on_its_way(example_id)
        events: list[Event] = [feedback]
        if is_new:
            events.append(self._created(example_id, messages, feedback))
            events.extend(self._replaced(example_id, messages, principal))
        await self._store.append(*events)
        return FeedbackReceipt(feedback_id=feedback.feedback_id, example_id=example_id, is_new=is_new)

    def _created(
        self, example_id: str, messages: tuple[Message, ...], feedback: FeedbackGiven
    ) -> ExampleCreated:
        return ExampleCreated(
            example_id=example_id,
            profile=PROFILE,
            messages=messages,
            feedback_id=feedback.feedback_id,
            turn_id=feedback.turn_id,
            principal=feedback.principal,
        )

    def _replaced(self, example_id: str, messages: tuple[Message, ...], principal: str) -> list[Event]:
        """What the same person said of this prompt under another name: the later answer wins. (Under one name the store
        sees to that; another person's answer stays, as a disagreement.)"""
        if principal not in self._owners():
            return []
        return [
            CorrectionWithdrawn(
                example_id=other.example_id, who=principal, why="corrected again", replaced_by=example_id
            )
            for other in self._store.examples.of_prompt(prompt_digest(messages))
            if other.principal != principal
            and other.principal in self._owners()
            and other.example_id != example_id
        ]

    def _feedback(
        self, turn_id: str | None, *, verdict: Verdict, text: str | None, principal: str
    ) -> FeedbackGiven:
        return FeedbackGiven(
            feedback_id=self._world.new_id("feedback"),
            turn_id=turn_id,
            verdict=verdict,
            text=text,
            principal=principal,
        )

    def _is_on_its_way(self, example_id: str) -> bool:
        """Whether this example waits for a run or is in one. One learned before is taught again."""
        known = self._store.examples.get(example_id)
        if known is None or not known.counts:
            return False
        if any(example.example_id == example_id for example in self._store.examples.pending()):
            return True
        datasets = {run.dataset_id for state in _ACTIVE for run in self._store.runs.list(state)}
        rows = (self._store.datasets.get(dataset_id) for dataset_id in datasets)
        return any(row is not None and example_id in row.example_ids for row in rows)

    def _context(self, turn: TurnRow) -> tuple[Message, ...]:
        """The conversation up to the corrected question, as the model saw it."""
        path = self._store.messages.path(turn.user_message_id) if turn.user_message_id else []
        messages = [row.message for row in path]
        if not messages or messages[-1].role != "user":
            raise InvalidRequest(
                "This turn has no question that could be answered otherwise (it was a raw prompt).",
                hint="Give the correction with its prompt instead.",
                param="turn_id",
                turn_id=turn.turn_id,
            )
        system = [message for message in messages if message.role == "system"]
        rest = [message for message in messages if message.role != "system"]
        return (*system, *rest[min(turn.num_trimmed_messages, len(rest) - 1) :])

    def _check_differs(self, turn: TurnRow, answer: Message) -> None:
        """InvalidRequest where the live model gave this very answer, whole, to this question."""
        if turn.answer_message_id is None or turn.stop_reason != "stop":
            return
        if self._live_digest() not in (None, turn.served_digest):
            return
        given = self._store.messages.path(turn.answer_message_id)[-1]
        if normalise(given.message.text) == normalise(answer.text):
            raise InvalidRequest(
                "That is the answer that was given: there is nothing to learn.",
                hint="Write what it should have been, or send the verdict `good`.",
                param="text",
            )

    def _fitted(self, messages: tuple[Message, ...]) -> tuple[Message, ...]:
        """The example as its question is served, without what is sure to be too much.

        InvalidRequest when its last exchange is.
        """
        if self._system_prompt and not any(message.role == "system" for message in messages):
            messages = (Message("system", self._system_prompt), *messages)
        limit = min(MAX_CONTEXT_BYTES, self._context_length() or MAX_CONTEXT_BYTES)
        fitted = trimmed(messages, limit_bytes=limit)
        if size_of(fitted) > limit:
            raise InvalidRequest(
                f"Question and answer have {size_of(fitted)} bytes with what is around them; "
                f"the live model is sure to learn {limit}.",
                hint="Teach a shorter answer, or ask more briefly.",
                param="text",
                num_bytes=size_of(fitted),
                limit=limit,
            )
        return fitted


def example_id_of(profile: str, messages: Sequence[Message]) -> str:
    """SHA-256 (hex) of the canonical content."""
    content: dict[str, Any] = {"profile": profile, "messages": list(messages)}
    return hashlib.sha256(canonical_json(content)).hexdigest()


def checked_answer(text: str | None) -> Message:
    """The answer as a message; InvalidRequest when it is empty or huge."""
    answer = (text or "").strip()
    if not answer:
        raise InvalidRequest(
            "The correction is empty.", hint="Write what the answer should have been.", param="text"
        )
    if not is_visible(answer):
        raise InvalidRequest(
            "The correction has only characters that nobody can see: there is nothing to learn.",
            hint="Write what the answer should have been.",
            param="text",
        )
    if len(answer) > MAX_ANSWER_CHARS:
        raise InvalidRequest(
            f"The correction has {len(answer)} characters; at most {MAX_ANSWER_CHARS} can be learned.",
            hint="Teach a shorter answer.",
            param="text",
            num_chars=len(answer),
            limit=MAX_ANSWER_CHARS,
        )
    return Message("assistant", answer)


def is_visible(text: str) -> bool:
    """Whether any character of a text shows something by itself: no space, mark, control or format character."""
    return any(
        unicodedata.category(character)[0] not in "CMZ" and character not in _BLANK for character in text
    )


def checked_context(messages: Sequence[Message]) -> tuple[Message, ...]:
    """The messages when they are a conversation that waits for an answer; InvalidRequest otherwise."""
    if not messages or messages[-1].role != "user" or not messages[-1].text.strip():
        raise InvalidRequest(
            "A correction needs the question it answers: the last message must be the user's and not empty.",
            param="messages",
        )
    if any(message.role == "system" for message in messages[1:]):
        raise InvalidRequest("A system message can only be the first one.", param="messages")
    if len(messages[-1].text) > MAX_QUESTION_CHARS:
        raise InvalidRequest(
            f"The question has {len(messages[-1].text)} characters; at most {MAX_QUESTION_CHARS} "
            "can be learned.",
            param="messages",
            num_chars=len(messages[-1].text),
            limit=MAX_QUESTION_CHARS,
        )
    return tuple(messages)


def trimmed(messages: Sequence[Message], *, limit_bytes: int) -> tuple[Message, ...]:
    """An example of at most so many bytes: oldest exchanges go, system message and last exchange stay."""
    system = tuple(messages[:1]) if messages[0].role == "system" else ()
    rest = list(messages[len(system) :])
    while len(rest) > 2 and size_of((*system, *rest)) > limit_bytes:
        del rest[0]
        while len(rest) > 2 and rest[0].role != "user":
            del rest[0]
    return (*system, *rest)


def size_of(messages: Sequence[Message]) -> int:
    """Bytes of the messages with what a template puts around them; never fewer than their tokens."""
    return sum(
        MESSAGE_BYTES
        + (
            len(message.content.encode())
            if isinstance(message.content, str)
            else len(msgspec.json.encode(message.content))
        )
        for message in messages
    )
