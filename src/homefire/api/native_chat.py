"""The native dialect's turn: everything the internal request can say, and every event as it is.

    POST /v1/chat {"message": "Hello", "session_id": "…"?, "stream": true}

A stream has the events `started`, `delta` (any number), and `ended` or `error`.
"""

from __future__ import annotations

import msgspec

from homefire.api.body import decode, invalid
from homefire.api.chat_endpoint import Translated
from homefire.api.event_stream import encode_event
from homefire.api.native_types import ChatAnswer, ChatBody
from homefire.api.openai import stop_strings
from homefire.chat.request import ChatRequest, Ended, Principal, Started
from homefire.engines.base import Delta
from homefire.types import Message, Sampling


class NativeChat:
    """Translates bodies of `/v1/chat`."""

    def __init__(self, *, default_model: str) -> None:
        self._default_model = default_model
        self._decoder = msgspec.json.Decoder(ChatBody)

    def __call__(self, body: bytes, principal: Principal) -> Translated:
        """InvalidRequest or UnsupportedParameter where the body cannot be served as it is."""
        wanted = decode(self._decoder, body)
        request = ChatRequest(
            messages=_messages(wanted),
            model=self._default_model if wanted.model is None else wanted.model,
            principal=principal,
            channel=wanted.channel,
            session_id=wanted.session_id,
            overflow=wanted.overflow,
            replaces_turn_id=wanted.replaces_turn_id,
            sampling=_sampling(wanted),
        )
        return request, _Events(streamed=wanted.stream, logprobs=wanted.num_logprobs)


def _messages(wanted: ChatBody) -> tuple[Message, ...]:
    given = [
        name for name in ("message", "messages", "replaces_turn_id") if getattr(wanted, name) is not None
    ]
    if len(given) != 1:
        said = " and ".join(given) or "none"
        raise invalid(
            given[-1] if given else "message",
            f"one of message, messages and replaces_turn_id is expected, not {said}",
        )
    if wanted.replaces_turn_id is not None:
        return ()
    system = (Message("system", wanted.system),) if wanted.system else ()
    if wanted.message is not None:
        if not wanted.message.strip():
            raise invalid("message", "it is empty")
        return (*system, Message("user", wanted.message))
    messages = tuple(wanted.messages or ())
    if not messages:
        raise invalid("messages", "it is empty")
    if messages[-1].role == "assistant":
        raise invalid("messages", "the last message is the assistant's own")
    return (*system, *messages)


def _sampling(wanted: ChatBody) -> Sampling:
    if wanted.grammar is not None and wanted.json_schema is not None:
        raise invalid("grammar", "it excludes json_schema")
    return Sampling(
        max_tokens=wanted.max_tokens,
        temperature=wanted.temperature,
        top_p=wanted.top_p,
        top_k=wanted.top_k,
        min_p=wanted.min_p,
        repetition_penalty=wanted.repetition_penalty,
        seed=wanted.seed,
        stop=stop_strings(wanted.stop, param="stop"),
        json_schema=wanted.json_schema,
        grammar=wanted.grammar,
        num_logprobs=wanted.num_logprobs,
    )


class _Piece(msgspec.Struct, frozen=True, omit_defaults=True):
    text: str
    logprobs: list[tuple[str, float, list[tuple[str, float]]]] | None = None


class _Events:
    """Encodes the events of one turn."""

    def __init__(self, *, streamed: bool, logprobs: int | None) -> None:
        self.streamed, self._logprobs = streamed, logprobs

    def started(self, event: Started) -> bytes:
        return encode_event("started", event)

    def delta(self, event: Delta) -> bytes:
        logprobs = None
        if self._logprobs is not None:
            logprobs = [(token.token, token.logprob, list(token.top)) for token in event.logprobs]
        return encode_event("delta", _Piece(event.text, logprobs))

    def ended(self, event: Ended) -> bytes:
        return encode_event("ended", event)

    def whole(self, started: Started, deltas: list[Delta], ended: Ended) -> bytes:
        return msgspec.json.encode(
            ChatAnswer(
                turn_id=started.turn_id,
                session_id=started.session_id,
                message_id=ended.message_id,
                model=started.model,
                served_model=started.served_model,
                route_reason=started.route_reason,
                text=ended.text,
                stop_reason=ended.stop_reason,
                stop_string=ended.stop_string,
                usage=ended.usage,
                timings=ended.timings,
                num_trimmed_messages=max(started.num_trimmed_messages, ended.num_trimmed_messages),
            )
        )
