"""The native dialect's turn: everything the internal request can say, and every event as it is.

    POST /v1/chat {"message": "Hello", "session_id": "…"?, "stream": true}

A stream has the events `started`, `delta` (any number), and `ended` or `error`.
"""

from __future__ import annotations

import msgspec

from homefire.api.body import decode, invalid, unsupported
from homefire.api.chat_endpoint import Translated
from homefire.api.event_stream import encode_event
from homefire.api.native_types import ChatAnswer, ChatBody
from homefire.api.translation import stop_strings
from homefire.chat.request import ChatRequest, Ended, Principal, Started
from homefire.engines.base import Delta
from homefire.types import Attachment, Message, Sampling, ToolResult


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
            channel=wanted.channel or "native",
            session_id=wanted.session_id,
            overflow=wanted.overflow,
            replaces_turn_id=wanted.replaces_turn_id,
            sampling=_sampling(wanted),
        )
        return request, _Events(streamed=bool(wanted.stream), logprobs=wanted.num_logprobs)


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
    given_messages = wanted.messages or []
    for index, message in enumerate(given_messages):
        if not isinstance(message.content, str):
            _refuse_attachments(message, index)
    return (*system, *(Message(message.role, message.content) for message in given_messages))


def _refuse_attachments(message: Message, index: int) -> None:
    for number, part in enumerate(message.content):
        within = part.content if isinstance(part, ToolResult) else (part,)
        if any(isinstance(piece, Attachment) for piece in within):
            raise unsupported(f"messages[{index}].content[{number}]", "attachments are not read yet")


def _sampling(wanted: ChatBody) -> Sampling:
    return Sampling(
        max_tokens=wanted.max_tokens,
        temperature=wanted.temperature,
        top_p=wanted.top_p,
        top_k=wanted.top_k,
        min_p=wanted.min_p,
        repetition_penalty=wanted.repetition_penalty,
        seed=wanted.seed,
        stop=stop_strings(wanted.stop),
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
        known = msgspec.structs.asdict(ended)
        more = {
            name: getattr(started, name) for name in ("session_id", "model", "served_model", "route_reason")
        }
        return msgspec.json.encode(ChatAnswer(**known, **more))
