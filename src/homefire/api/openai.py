"""The OpenAI dialect: `/v1/chat/completions` decoded into the one internal request, and its answer encoded.

Where a chat request's walk begins: `OpenAIChat.__call__` → `ChatEndpoint` → `chat.turn`. A parameter this server
does not act on is an error that names it. The answer's `id` is the turn's id.
"""

from __future__ import annotations

import time
from typing import Any

import msgspec

from homefire.api.body import decode, invalid, unsupported
from homefire.api.chat_endpoint import Translated
from homefire.api.logprobs import chosen_logprobs
from homefire.api.openai_types import (
    AnswerMessage,
    CachedDetails,
    ChatBody,
    ChatMessage,
    Choice,
    Chunk,
    ChunkChoice,
    ChunkDelta,
    Completion,
    Logprobs,
    UsageBlock,
)
from homefire.chat.request import ChatRequest, Ended, Principal, Started
from homefire.engines.base import Delta
from homefire.types import Message, Role, Sampling

ANY_JSON_OBJECT: dict[str, Any] = {"type": "object"}
DONE = b"data: [DONE]\n\n"
_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
}
_ONLY_EMPTY = (
    "tools",
    "tool_choice",
    "functions",
    "function_call",
    "audio",
    "logit_bias",
    "frequency_penalty",
    "presence_penalty",
    "store",
)
"""Fields whose empty value asks for nothing; any other value asks for what this server does not do."""
_DOES_NOTHING: dict[str, tuple[object, ...]] = {
    "n": (None, 1),
    "service_tier": (None, "auto", "default"),
    "modalities": (None, ["text"]),
    "tool_choice": (None, "none", "auto"),
}


class OpenAIChat:
    """Translates bodies of `/v1/chat/completions`."""

    def __init__(self) -> None:
        self._decoder = msgspec.json.Decoder(ChatBody)
        self._encoder = msgspec.json.Encoder()

    def __call__(self, body: bytes, principal: Principal) -> Translated:
        """InvalidRequest or UnsupportedParameter where the body cannot be served as it is."""
        wanted = decode(self._decoder, body)
        refuse_unsupported(wanted)
        request = ChatRequest(
            messages=tuple(_message(message, index) for index, message in enumerate(wanted.messages)),
            model=wanted.model,
            principal=principal,
            channel="openai",
            sampling=_sampling(wanted),
        )
        if request.messages[-1].role == "assistant":
            raise invalid(
                "messages", "the last message is the assistant's own", hint="End with what is to be answered."
            )
        options = wanted.stream_options
        if options is not None and not wanted.stream:
            raise invalid("stream_options", "it is only for streams", hint="Set stream to true.")
        return request, _Answer(
            self._encoder,
            streamed=bool(wanted.stream),
            include_usage=bool(options and options.include_usage),
            logprobs=bool(wanted.logprobs),
        )


def refuse_unsupported(wanted: ChatBody) -> None:
    """UnsupportedParameter for the first field that asks for something this server does not do."""
    for name, harmless in _DOES_NOTHING.items():
        if getattr(wanted, name) not in harmless:
            raise unsupported(name)
    for name in _ONLY_EMPTY:
        if name not in _DOES_NOTHING and getattr(wanted, name):
            raise unsupported(name)


def _message(message: ChatMessage, index: int) -> Message:
    role = _ROLES.get(message.role)
    place = f"messages[{index}]"
    if role is None:
        raise unsupported(f"{place}.role", f"{message.role!r} is not one of {', '.join(_ROLES)}")
    for name in ("name", "refusal", "audio", "annotations", "function_call", "tool_calls"):
        if getattr(message, name):
            raise unsupported(f"{place}.{name}")
    content = message.content
    if content is None:
        raise invalid(f"{place}.content", "it is missing")
    if isinstance(content, str):
        return Message(role, content)
    texts = []
    for number, part in enumerate(content):
        if part.type != "text":
            raise unsupported(f"{place}.content[{number}].type", f"{part.type!r}: only text is understood")
        if part.text is None:
            raise invalid(f"{place}.content[{number}].text", "it is missing")
        texts.append(part.text)
    return Message(role, "".join(texts))


def _sampling(wanted: ChatBody) -> Sampling:
    old, new = wanted.max_tokens, wanted.max_completion_tokens
    if old is not None and new is not None and old != new:
        raise invalid("max_tokens", "it contradicts max_completion_tokens", hint="Send one of them.")
    if wanted.top_logprobs is not None and not wanted.logprobs:
        raise invalid("top_logprobs", "it needs logprobs to be true")
    return Sampling(
        max_tokens=new if new is not None else old,
        temperature=wanted.temperature,
        top_p=wanted.top_p,
        top_k=wanted.top_k,
        min_p=wanted.min_p,
        repetition_penalty=wanted.repetition_penalty,
        seed=wanted.seed,
        stop=stop_strings(wanted.stop, param="stop"),
        json_schema=_schema(wanted),
        num_logprobs=(wanted.top_logprobs or 0) if wanted.logprobs else None,
    )


def stop_strings(stop: str | list[str] | None, *, param: str) -> tuple[str, ...]:
    """One or many; an empty one would stop every answer at once and is refused."""
    if stop is None:
        return ()
    many = (stop,) if isinstance(stop, str) else tuple(stop)
    if "" in many:
        raise invalid(param, "an empty stop string stops everything")
    return many


def _schema(wanted: ChatBody) -> dict[str, Any] | None:
    response_format = wanted.response_format
    if response_format is None or response_format.type == "text":
        return None
    if response_format.type == "json_object":
        return ANY_JSON_OBJECT
    if response_format.json_schema is None or response_format.json_schema.schema is None:
        raise invalid("response_format.json_schema.schema", "it is missing")
    return response_format.json_schema.schema


class _Answer:
    """Encodes the events of one turn."""

    def __init__(
        self, encoder: msgspec.json.Encoder, *, streamed: bool, include_usage: bool, logprobs: bool
    ) -> None:
        self._encoder, self.streamed = encoder, streamed
        self._include_usage, self._logprobs = include_usage, logprobs
        self._id, self._model, self._created = "", "", int(time.time())

    def started(self, event: Started) -> bytes:
        self._id, self._model = event.turn_id, event.served_model
        return self._chunk(ChunkChoice(delta=ChunkDelta(role="assistant", content="")))

    def delta(self, event: Delta) -> bytes:
        logprobs = Logprobs(chosen_logprobs(event.logprobs)) if self._logprobs else None
        return self._chunk(ChunkChoice(delta=ChunkDelta(content=event.text), logprobs=logprobs))

    def ended(self, event: Ended) -> bytes:
        last = self._chunk(ChunkChoice(delta=ChunkDelta(), finish_reason=_finish_reason(event)))
        if self._include_usage:
            chunk = Chunk(self._id, self._created, self._model, [], usage=_usage(event))
            last += b"data: " + self._encoder.encode(chunk) + b"\n\n"
        return last + DONE

    def whole(self, started: Started, deltas: list[Delta], ended: Ended) -> bytes:
        tokens = [token for delta in deltas for token in delta.logprobs] if self._logprobs else []
        return self._encoder.encode(
            Completion(
                id=started.turn_id,
                created=self._created,
                model=started.served_model,
                choices=[
                    Choice(
                        AnswerMessage(ended.text),
                        _finish_reason(ended),
                        Logprobs(chosen_logprobs(tokens)) if self._logprobs else None,
                    )
                ],
                usage=_usage(ended),
            )
        )

    def _chunk(self, choice: ChunkChoice) -> bytes:
        usage = None if self._include_usage else msgspec.UNSET
        chunk = Chunk(self._id, self._created, self._model, [choice], usage=usage)
        return b"data: " + self._encoder.encode(chunk) + b"\n\n"


def _finish_reason(event: Ended) -> str:
    return "length" if event.stop_reason == "length" else "stop"


def _usage(event: Ended) -> UsageBlock:
    usage = event.usage
    return UsageBlock(
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        total_tokens=usage.prompt_tokens + usage.completion_tokens,
        prompt_tokens_details=CachedDetails(usage.cached_tokens),
        trimmed_messages=event.num_trimmed_messages,
    )
