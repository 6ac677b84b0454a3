"""The Anthropic dialect: `/v1/messages`, plain and streamed, and its exact token count.

The engine's counts are known at the end only, so `message_start` says 0 tokens and `message_delta` the truth.
The query (`?beta=true`) changes nothing: what a beta would add is refused by the name of its field.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from homefire.api.anthropic_types import (
    AnswerBlock,
    AnswerMessage,
    BlockDelta,
    BlockStart,
    CountBody,
    InputMessage,
    MessageDelta,
    MessagesBody,
    MessageStart,
    StopDelta,
    TextBlock,
    TextDelta,
    UsageBlock,
)
from homefire.api.body import decode, invalid, unsupported
from homefire.api.chat_endpoint import Translated
from homefire.api.openai import stop_strings
from homefire.chat.request import ChatRequest, Ended, Principal, Started
from homefire.engines.base import Delta
from homefire.types import Message, Role, Sampling

CountTokens = Callable[[str, tuple[Message, ...]], Awaitable[int]]
_ROLES: dict[str, Role] = {"user": "user", "assistant": "assistant", "system": "system"}
_PING = b'event: ping\ndata: {"type":"ping"}\n\n'
_BLOCK_STOP = b'event: content_block_stop\ndata: {"type":"content_block_stop","index":0}\n\n'
_MESSAGE_STOP = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'


class AnthropicMessages:
    """Translates bodies of `/v1/messages`."""

    def __init__(self) -> None:
        self._decoder = msgspec.json.Decoder(MessagesBody)
        self._encoder = msgspec.json.Encoder()

    def __call__(self, body: bytes, principal: Principal) -> Translated:
        """InvalidRequest or UnsupportedParameter where the body cannot be served as it is."""
        wanted = decode(self._decoder, body)
        _refuse_unsupported(wanted)
        request = ChatRequest(
            messages=_conversation(wanted),
            model=wanted.model,
            principal=principal,
            channel="anthropic",
            sampling=Sampling(
                max_tokens=wanted.max_tokens,
                temperature=wanted.temperature,
                top_p=wanted.top_p,
                top_k=wanted.top_k,
                stop=stop_strings(wanted.stop_sequences, param="stop_sequences"),
                json_schema=_schema(wanted),
            ),
        )
        if request.messages[-1].role == "assistant":
            raise unsupported(
                "messages", "a begun answer cannot be continued", hint="End with a user message."
            )
        return request, _Answer(self._encoder, streamed=bool(wanted.stream))


class AnthropicCount:
    """Answers `/v1/messages/count_tokens` with what the engine itself counts."""

    def __init__(self, count_tokens: CountTokens) -> None:
        self._count_tokens = count_tokens
        self._decoder = msgspec.json.Decoder(CountBody)

    def __call__(self, body: bytes, principal: Principal) -> Translated:
        """The count as a document; errors as for the message itself."""
        wanted = decode(self._decoder, body)
        _refuse_unsupported(wanted)
        messages = _conversation(wanted)

        async def count() -> bytes:
            return msgspec.json.encode({"input_tokens": await self._count_tokens(wanted.model, messages)})

        return count


def _refuse_unsupported(wanted: MessagesBody | CountBody) -> None:
    if wanted.tools:
        raise unsupported("tools")
    if wanted.tool_choice not in (None, {"type": "none"}, {"type": "auto"}):
        raise unsupported("tool_choice")
    if wanted.thinking is not None and wanted.thinking.type != "disabled":
        raise unsupported("thinking")
    if wanted.output_config is not None and wanted.output_config.effort is not None:
        raise unsupported("output_config.effort")


def _schema(wanted: MessagesBody) -> dict[str, Any] | None:
    config = wanted.output_config
    return config.format.schema if config is not None and config.format is not None else None


def _conversation(wanted: MessagesBody | CountBody) -> tuple[Message, ...]:
    system = _text(wanted.system, "system") if wanted.system else ""
    first = (Message("system", system),) if system else ()
    return (*first, *(_message(message, index) for index, message in enumerate(wanted.messages)))


def _message(message: InputMessage, index: int) -> Message:
    role = _ROLES.get(message.role)
    if role is None:
        raise unsupported(f"messages[{index}].role", f"{message.role!r} is not one of {', '.join(_ROLES)}")
    return Message(role, _text(message.content, f"messages[{index}].content"))


def _text(content: str | list[TextBlock], place: str) -> str:
    if isinstance(content, str):
        return content
    texts = []
    for number, block in enumerate(content):
        if block.type != "text":
            raise unsupported(f"{place}[{number}].type", f"{block.type!r}: only text is understood")
        if block.citations:
            raise unsupported(f"{place}[{number}].citations")
        if block.text is None:
            raise invalid(f"{place}[{number}].text", "it is missing")
        texts.append(block.text)
    return "\n\n".join(texts) if place == "system" else "".join(texts)


class _Answer:
    """Encodes the events of one turn."""

    def __init__(self, encoder: msgspec.json.Encoder, *, streamed: bool) -> None:
        self._encoder, self.streamed = encoder, streamed

    def started(self, event: Started) -> bytes:
        message = AnswerMessage(event.turn_id, event.served_model, [], None, None, UsageBlock(0, 0))
        begin = self._event("message_start", MessageStart(message))
        return begin + self._event("content_block_start", BlockStart(AnswerBlock(""))) + _PING

    def delta(self, event: Delta) -> bytes:
        return self._event("content_block_delta", BlockDelta(TextDelta(event.text)))

    def ended(self, event: Ended) -> bytes:
        reason = StopDelta(_stop_reason(event), event.stop_string)
        last = self._event("message_delta", MessageDelta(reason, _usage(event)))
        return _BLOCK_STOP + last + _MESSAGE_STOP

    def whole(self, started: Started, deltas: list[Delta], ended: Ended) -> bytes:
        return self._encoder.encode(
            AnswerMessage(
                started.turn_id,
                started.served_model,
                [AnswerBlock(ended.text)],
                _stop_reason(ended),
                ended.stop_string,
                _usage(ended),
            )
        )

    def _event(self, name: str, data: msgspec.Struct) -> bytes:
        return b"event: " + name.encode() + b"\ndata: " + self._encoder.encode(data) + b"\n\n"


def _stop_reason(event: Ended) -> str:
    if event.stop_string is not None:
        return "stop_sequence"
    return "max_tokens" if event.stop_reason == "length" else "end_turn"


def _usage(event: Ended) -> UsageBlock:
    usage = event.usage
    return UsageBlock(
        input_tokens=usage.prompt_tokens - usage.cached_tokens,
        output_tokens=usage.completion_tokens,
        cache_creation_input_tokens=0,
        cache_read_input_tokens=usage.cached_tokens,
        trimmed_messages=event.num_trimmed_messages,
    )
