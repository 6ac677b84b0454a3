"""The Ollama dialect: `/api/chat` and `/api/generate`, answered as JSON lines or as one document.

Unlike Ollama, nothing is dropped in silence: an option this server does not act on is an error that names it,
and a trimmed prompt says so (`trimmed_messages`). The listing routes are in `ollama_models.py`.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

from homefire.api.body import decode, invalid, unsupported
from homefire.api.chat_endpoint import Translated
from homefire.api.logprobs import chosen_logprobs
from homefire.api.ollama_types import (
    Answer,
    AnswerMessage,
    ChatBody,
    ChatMessage,
    GenerateBody,
    Options,
)
from homefire.api.openai import ANY_JSON_OBJECT, stop_strings
from homefire.chat.request import ChatRequest, Ended, Principal, Started
from homefire.engines.base import Delta
from homefire.types import Message, Role, Sampling

NANOSECONDS_PER_MS = 1_000_000
_ROLES: dict[str, Role] = {"system": "system", "user": "user", "assistant": "assistant"}
_ZERO_OPTIONS = ("presence_penalty", "frequency_penalty", "mirostat")


class ModelControl:
    """What the dialect may do to models besides chatting with them."""

    def __init__(
        self,
        *,
        context_length: Callable[[str], int],
        load: Callable[[str], Awaitable[None]],
        unload: Callable[[str], Awaitable[None]],
    ) -> None:
        self.context_length, self.load, self.unload = context_length, load, unload


class OllamaChat:
    """Translates bodies of `/api/chat`."""

    def __init__(self, models: ModelControl) -> None:
        self._models = models
        self._decoder = msgspec.json.Decoder(ChatBody)
        self._encoder = msgspec.json.Encoder()

    def __call__(self, body: bytes, principal: Principal) -> Translated:
        """InvalidRequest or UnsupportedParameter where the body cannot be served as it is."""
        wanted = decode(self._decoder, body)
        _refuse_thinking(wanted.think)
        if wanted.tools:
            raise unsupported("tools")
        model = plain_name(wanted.model)
        sampling = _sampling(wanted, model, self._models)
        if not wanted.messages:
            return _load_or_unload(wanted, self._models, message=AnswerMessage(""))
        messages = tuple(_message(message, index) for index, message in enumerate(wanted.messages))
        if messages[-1].role == "assistant":
            raise invalid("messages", "the last message is the assistant's own")
        request = ChatRequest(
            messages=messages, model=model, principal=principal, channel="ollama", sampling=sampling
        )
        return request, _Lines(
            self._encoder,
            model=wanted.model,
            chat=True,
            streamed=wanted.stream is not False,
            logprobs=bool(wanted.logprobs),
        )


class OllamaGenerate:
    """Translates bodies of `/api/generate`."""

    def __init__(self, models: ModelControl) -> None:
        self._models = models
        self._decoder = msgspec.json.Decoder(GenerateBody)
        self._encoder = msgspec.json.Encoder()

    def __call__(self, body: bytes, principal: Principal) -> Translated:
        """InvalidRequest or UnsupportedParameter where the body cannot be served as it is."""
        wanted = decode(self._decoder, body)
        _refuse_thinking(wanted.think)
        for name in ("suffix", "template", "context", "images"):
            if getattr(wanted, name):
                raise unsupported(name)
        model = plain_name(wanted.model)
        sampling = _sampling(wanted, model, self._models)
        if not wanted.prompt:
            return _load_or_unload(wanted, self._models, response="")
        if wanted.raw and wanted.system:
            raise invalid("system", "a raw prompt has no place for it", hint="Put it into the prompt.")
        system = (Message("system", wanted.system),) if wanted.system else ()
        request = ChatRequest(
            messages=() if wanted.raw else (*system, Message("user", wanted.prompt)),
            prompt=wanted.prompt if wanted.raw else None,
            model=model,
            principal=principal,
            channel="ollama",
            sampling=sampling,
        )
        return request, _Lines(
            self._encoder,
            model=wanted.model,
            chat=False,
            streamed=wanted.stream is not False,
            logprobs=bool(wanted.logprobs),
        )


def plain_name(model: str) -> str:
    """A model's name here: Ollama's clients add `:latest` by themselves."""
    return model.removesuffix(":latest")


def rfc3339(time_s: float) -> str:
    """A time as Ollama writes it."""
    return datetime.fromtimestamp(time_s, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _refuse_thinking(think: bool | str | None) -> None:
    if think:
        raise unsupported("think")


def _load_or_unload(
    wanted: ChatBody | GenerateBody, models: ModelControl, **empty: Any
) -> Callable[[], Awaitable[bytes]]:
    """What a request without a question asks for; `empty` is its answer's text."""

    async def move() -> bytes:
        model, reason = plain_name(wanted.model), "load"
        if wanted.keep_alive in (0, "0", "0s", "0m", "0h"):
            await models.unload(model)
            reason = "unload"
        else:
            await models.load(model)
        return msgspec.json.encode(
            Answer(
                model=wanted.model, created_at=rfc3339(time.time()), done=True, done_reason=reason, **empty
            )
        )

    return move


def _message(message: ChatMessage, index: int) -> Message:
    place = f"messages[{index}]"
    role = _ROLES.get(message.role)
    if role is None:
        raise unsupported(f"{place}.role", f"{message.role!r} is not one of {', '.join(_ROLES)}")
    for name in ("thinking", "images", "tool_name", "tool_calls"):
        if getattr(message, name):
            raise unsupported(f"{place}.{name}")
    if message.content is None:
        raise invalid(f"{place}.content", "it is missing")
    return Message(role, message.content)


def _sampling(wanted: ChatBody | GenerateBody, model: str, models: ModelControl) -> Sampling:
    options = wanted.options or Options()
    for name in _ZERO_OPTIONS:
        if getattr(options, name):
            raise unsupported(f"options.{name}")
    if wanted.top_logprobs and not wanted.logprobs:
        raise invalid("top_logprobs", "it needs logprobs to be true")
    if options.num_ctx is not None:
        limit = models.context_length(model)
        if options.num_ctx > limit:
            raise invalid(
                "options.num_ctx", f"{options.num_ctx} is more than the {limit} tokens {model} holds"
            )
    if options.num_predict == 0:
        raise invalid("options.num_predict", "no tokens are asked for")
    return Sampling(
        max_tokens=None if options.num_predict == -1 else options.num_predict,
        temperature=options.temperature,
        top_p=options.top_p,
        top_k=options.top_k,
        min_p=options.min_p,
        repetition_penalty=options.repeat_penalty,
        seed=options.seed,
        stop=stop_strings(options.stop, param="options.stop"),
        json_schema=_schema(wanted.format),
        num_logprobs=(wanted.top_logprobs or 0) if wanted.logprobs else None,
    )


def _schema(wanted: str | dict[str, Any] | None) -> dict[str, Any] | None:
    if not wanted:
        return None
    if isinstance(wanted, dict):
        return wanted
    if wanted == "json":
        return ANY_JSON_OBJECT
    raise unsupported("format", f"{wanted!r} is neither 'json' nor a JSON schema")


class _Lines:
    """Encodes the events of one turn."""

    def __init__(
        self, encoder: msgspec.json.Encoder, *, model: str, chat: bool, streamed: bool, logprobs: bool
    ) -> None:
        self._encoder, self._model, self._chat, self.streamed = encoder, model, chat, streamed
        self._logprobs = logprobs
        self._began_ns = time.perf_counter_ns()

    def started(self, event: Started) -> bytes:
        return b""

    def delta(self, event: Delta) -> bytes:
        return self._line(event.text, deltas=[event], done=False)

    def ended(self, event: Ended) -> bytes:
        return self._line("", ended=event, done=True)

    def whole(self, started: Started, deltas: list[Delta], ended: Ended) -> bytes:
        return self._line(ended.text, deltas=deltas, ended=ended, done=True)

    def _line(
        self, text: str, *, done: bool, deltas: list[Delta] | None = None, ended: Ended | None = None
    ) -> bytes:
        answer = Answer(
            model=self._model,
            created_at=rfc3339(time.time()),
            message=AnswerMessage(text) if self._chat else msgspec.UNSET,
            response=msgspec.UNSET if self._chat else text,
            done=done,
            logprobs=chosen_logprobs(token for delta in deltas for token in delta.logprobs)
            if self._logprobs and deltas
            else None,
        )
        if ended is not None:
            usage, timings = ended.usage, ended.timings
            answer = msgspec.structs.replace(
                answer,
                done_reason="length" if ended.stop_reason == "length" else "stop",
                total_duration=time.perf_counter_ns() - self._began_ns,
                load_duration=round(timings.load_ms * NANOSECONDS_PER_MS),
                prompt_eval_count=usage.prompt_tokens,
                prompt_eval_duration=round(timings.prompt_ms * NANOSECONDS_PER_MS),
                eval_count=usage.completion_tokens,
                eval_duration=round(timings.decode_ms * NANOSECONDS_PER_MS),
                trimmed_messages=ended.num_trimmed_messages,
            )
        return self._encoder.encode(answer) + b"\n"
