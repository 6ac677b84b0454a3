"""The Ollama dialect: `/api/chat` and `/api/generate`, answered as JSON lines or as one document.

Unlike Ollama, nothing is dropped in silence: an option this server does not act on is an error that names it,
and a trimmed prompt says so (`trimmed_messages`). Calls without an id get one (`CallHistory`); a result belongs to
the oldest call of its `tool_name` that has none yet.
"""

from __future__ import annotations

import re
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

import msgspec

from homefire.api.body import invalid, unsupported
from homefire.api.chat_endpoint import Translated
from homefire.api.logprobs import chosen_logprobs
from homefire.api.ollama_types import (
    Answer,
    AnswerMessage,
    AskBody,
    ChatBody,
    ChatMessage,
    GenerateBody,
    Options,
)
from homefire.api.translation import (
    ANY_JSON_OBJECT,
    NO_TOOLS_YET,
    CallHistory,
    Harmless,
    assistant_message,
    decode_request,
    name_of_stop,
    refuse_unsupported,
    stop_strings,
    tool_message,
)
from homefire.chat.request import ChatRequest, Ended, Overflow, Principal, Started
from homefire.engines.base import Delta
from homefire.errors import quoted
from homefire.serving.router import Router, RouteRequest
from homefire.serving.serving import Serving
from homefire.types import Message, Part, Reasoning, Sampling, Text, ToolCall

NANOSECONDS_PER_MS = 1_000_000
HARMLESS: Harmless = {"think": (False,), "shift": (False,)}
HARMLESS_IN_CHAT: Harmless = {"tools": ([],), **HARMLESS}
HARMLESS_IN_GENERATE: Harmless = {
    "suffix": ("",),
    "template": ("",),
    "context": ([],),
    "images": ([],),
    "width": (0,),
    "height": (0,),
    "steps": (0,),
    **HARMLESS,
}
HARMLESS_OPTIONS: Harmless = {
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "mirostat": (0,),
    "typical_p": (1,),
    "tfs_z": (1,),
    "num_keep": (0,),
    "numa": (False,),
    "low_vram": (False,),
    "logits_all": (False,),
    "vocab_only": (False,),
    "embedding_only": (False,),
    "use_mlock": (False,),
    **dict.fromkeys(
        ("repeat_last_n", "penalize_newline", "num_batch", "num_gpu", "main_gpu", "num_thread", "f16_kv",
         "use_mmap"),
        (),
    ),
}  # fmt: skip
"""`mirostat_tau` and `mirostat_eta` say nothing while mirostat is off."""
_WHY = {
    "tools": NO_TOOLS_YET,
    "think": "models are asked to answer without thinking first",
    "shift": "an answer ends where the context is full",
}
_ROLES = ("system", "user", "assistant", "tool")
_UNITS_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_NUMBER_AND_UNIT = r"([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|ms|s|m|h)"
_DURATION = re.compile(rf"[-+]?(0|({_NUMBER_AND_UNIT})+)")
_DURATION_PART = re.compile(_NUMBER_AND_UNIT)

Body = TypeVar("Body", bound=AskBody)


class ModelControl:
    """What the dialect may do to models besides chatting with them."""

    def __init__(self, serving: Serving, router: Router) -> None:
        self._serving, self._router = serving, router

    def context_length(self, name: str) -> int:
        """Tokens one request may fill, as the model is loaded or would be."""
        route = self._router.route(RouteRequest(model=name))
        return self._serving.context_length(route) or route.model.context_length

    async def load(self, name: str) -> None:
        """Into memory."""
        await self._serving.warm(name)

    async def unload(self, name: str) -> None:
        """Out of memory; running requests finish."""
        self._serving.unload(name)


class _Asked(ABC, Generic[Body]):
    """Translates the bodies of one route; the two differ in where they keep their question."""

    body: type[Body]
    harmless: Harmless

    def __init__(self, models: ModelControl) -> None:
        self._models = models
        self._decoder = msgspec.json.Decoder(self.body)
        self._encoder = msgspec.json.Encoder()

    def __call__(self, body: bytes, principal: Principal) -> Translated:
        """InvalidRequest or UnsupportedParameter where the body cannot be served as it is."""
        wanted = decode_request(self._decoder, body)
        refuse_unsupported(wanted, self.harmless, why=_WHY)
        keeps = keep_alive_s(wanted.keep_alive) != 0
        model = plain_name(wanted.model)
        sampling = _sampling(wanted, model, self._models)
        asked = self.question(wanted)
        if asked is None:
            return self._load_or_unload(wanted.model, keeps)
        messages, prompt = asked
        overflow: dict[bool | None, Overflow | None] = {None: None, True: "trim", False: "refuse"}
        request = ChatRequest(
            messages=messages,
            prompt=prompt,
            model=model,
            principal=principal,
            channel="ollama",
            overflow=overflow[wanted.truncate],
            sampling=sampling,
        )
        return request, _Lines(
            self._encoder,
            model=wanted.model,
            as_answer=self.as_answer,
            streamed=wanted.stream is not False,
            logprobs=bool(wanted.logprobs),
        )

    @abstractmethod
    def question(self, wanted: Body) -> tuple[tuple[Message, ...], str | None] | None:
        """Messages or a raw prompt; None where the request only loads or unloads the model."""

    @staticmethod
    @abstractmethod
    def as_answer(text: str) -> dict[str, Any]:
        """The field that holds the answer's text."""

    def _load_or_unload(self, model: str, keeps: bool) -> Callable[[], Awaitable[bytes]]:
        async def move() -> bytes:
            act = self._models.load if keeps else self._models.unload
            await act(plain_name(model))
            return self._encoder.encode(
                Answer(
                    model=model,
                    created_at=rfc3339(time.time()),
                    done=True,
                    done_reason="load" if keeps else "unload",
                    **self.as_answer(""),
                )
            )

        return move


class OllamaChat(_Asked[ChatBody]):
    """Translates bodies of `/api/chat`."""

    body = ChatBody
    harmless = HARMLESS_IN_CHAT

    def question(self, wanted: ChatBody) -> tuple[tuple[Message, ...], str | None] | None:
        """The messages."""
        if not wanted.messages:
            return None
        calls = CallHistory()
        return tuple(_message(message, index, calls) for index, message in enumerate(wanted.messages)), None

    @staticmethod
    def as_answer(text: str) -> dict[str, Any]:
        """In a message."""
        return {"message": AnswerMessage(text)}


class OllamaGenerate(_Asked[GenerateBody]):
    """Translates bodies of `/api/generate`."""

    body = GenerateBody
    harmless = HARMLESS_IN_GENERATE

    def question(self, wanted: GenerateBody) -> tuple[tuple[Message, ...], str | None] | None:
        """The prompt, as a message or raw."""
        if not wanted.prompt:
            return None
        if wanted.raw:
            if wanted.system:
                raise invalid("system", "a raw prompt has no place for it", hint="Put it into the prompt.")
            return (), wanted.prompt
        system = (Message("system", wanted.system),) if wanted.system else ()
        return (*system, Message("user", wanted.prompt)), None

    @staticmethod
    def as_answer(text: str) -> dict[str, Any]:
        """By itself."""
        return {"response": text}


def plain_name(model: str) -> str:
    """A model's name here: Ollama's clients add `:latest` by themselves."""
    return model.removesuffix(":latest")


def rfc3339(time_s: float) -> str:
    """A time as Ollama writes it."""
    return datetime.fromtimestamp(time_s, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def keep_alive_s(keep_alive: float | str | None) -> float | None:
    """How long, in seconds: a number of them, or a duration as Go writes it (`5m`, `1h30m`, `-1s`)."""
    if keep_alive is None or not isinstance(keep_alive, str):
        return keep_alive
    if not _DURATION.fullmatch(keep_alive):
        raise invalid(
            "keep_alive", f"{quoted(keep_alive[:40])} is not a duration", hint="Write 300, 5m or 1h30m."
        )
    seconds = sum(float(number) * _UNITS_S[unit] for number, unit in _DURATION_PART.findall(keep_alive))
    return -seconds if keep_alive.startswith("-") else seconds


def check_options(options: Options | None) -> Options:
    """UnsupportedParameter for an option this server does not act on."""
    if options is None:
        return Options()
    refuse_unsupported(options, HARMLESS_OPTIONS, place="options.")
    return options


def _message(message: ChatMessage, index: int, calls: CallHistory) -> Message:
    place = f"messages[{index}]"
    if message.images:
        raise unsupported(f"{place}.images", "content of this kind is not read", hint="Send its text.")
    name = message.tool_name or message.name
    match message.role:
        case "assistant":
            if name or message.tool_call_id:
                field = "tool_call_id" if not name else "tool_name" if message.tool_name else "name"
                raise invalid(f"{place}.{field}", "only a tool's message has one")
            return _assistants(message, place, calls)
        case "tool":
            return _result(message, place, name, calls)
        case "user" | "system" as role:
            for field in ("thinking", "tool_calls", "tool_name", "name", "tool_call_id"):
                if getattr(message, field):
                    raise invalid(f"{place}.{field}", f"a message of the role {role} has none")
            return Message(role, _present(message.content, place))
    raise unsupported(f"{place}.role", f"{quoted(message.role)} is not one of {', '.join(_ROLES)}")


def _present(content: str | None, place: str) -> str:
    if content is None:
        raise invalid(f"{place}.content", "it is missing")
    return content


def _assistants(message: ChatMessage, place: str, calls: CallHistory) -> Message:
    parts: list[Part] = []
    if message.thinking:
        parts.append(Reasoning(message.thinking))
    if message.content:
        parts.append(Text(message.content))
    for number, call in enumerate(message.tool_calls or ()):
        if call.type not in (None, "function"):
            raise unsupported(f"{place}.tool_calls[{number}].type")
        if call.function.description:
            raise unsupported(f"{place}.tool_calls[{number}].function.description")
        call_id = calls.add(call.function.name, call.id)
        parts.append(ToolCall(call_id, call.function.name, call.function.arguments or {}))
    if not parts:
        return Message("assistant", _present(message.content, place))
    return assistant_message(parts)


def _result(message: ChatMessage, place: str, name: str | None, calls: CallHistory) -> Message:
    for field in ("thinking", "tool_calls"):
        if getattr(message, field):
            raise invalid(f"{place}.{field}", "a message of the role tool has none")
    field = "name" if message.name and not message.tool_name else "tool_name"
    if message.tool_name and message.name and message.tool_name != message.name:
        raise invalid(f"{place}.name", "it contradicts tool_name")
    call_id = message.tool_call_id
    if call_id:
        if name and name != calls.name_of(call_id):
            raise invalid(
                f"{place}.{field}", "the call with this tool_call_id has another name, or is not there"
            )
        calls.close(call_id)
    else:
        call_id = calls.close_first(name)
    if call_id is None:
        asked = f"no call of {quoted(name)} waits for a result" if name else "no call waits for a result"
        raise invalid(f"{place}.{field}", asked)
    return tool_message(call_id, _present(message.content, place))


def _sampling(wanted: AskBody, model: str, models: ModelControl) -> Sampling:
    options = check_options(wanted.options)
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
        stop=stop_strings(options.stop),
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
    raise unsupported("format", f"{quoted(wanted[:40])} is neither 'json' nor a JSON schema")


class _Lines:
    """Encodes the events of one turn."""

    def __init__(
        self,
        encoder: msgspec.json.Encoder,
        *,
        model: str,
        as_answer: Callable[[str], dict[str, Any]],
        streamed: bool,
        logprobs: bool,
    ) -> None:
        self._encoder, self._model, self._as_answer, self.streamed = encoder, model, as_answer, streamed
        self._logprobs = logprobs
        self._began_ns = time.perf_counter_ns()

    def started(self, event: Started) -> bytes:
        return b""

    def delta(self, event: Delta) -> bytes:
        return self._line(event.text, (event,))

    def ended(self, event: Ended) -> bytes:
        return self._line("", (), done=True, **self._end(event))

    def whole(self, started: Started, deltas: list[Delta], ended: Ended) -> bytes:
        return self._line(ended.text, deltas, done=True, **self._end(ended))

    def _line(self, text: str, deltas: Sequence[Delta], *, done: bool = False, **end: Any) -> bytes:
        logprobs = None
        if self._logprobs and deltas:
            logprobs = chosen_logprobs(token for delta in deltas for token in delta.logprobs)
        answer = Answer(
            model=self._model,
            created_at=rfc3339(time.time()),
            done=done,
            logprobs=logprobs,
            **self._as_answer(text),
            **end,
        )
        return self._encoder.encode(answer) + b"\n"

    def _end(self, event: Ended) -> dict[str, Any]:
        usage, timings = event.usage, event.timings
        return {
            "done_reason": name_of_stop(
                event.stop_reason, stop="stop", length="length", context="length", tool_call="stop"
            ),
            "total_duration": time.perf_counter_ns() - self._began_ns,
            "load_duration": round(timings.load_ms * NANOSECONDS_PER_MS),
            "prompt_eval_count": usage.prompt_tokens,
            "prompt_eval_duration": round(timings.prompt_ms * NANOSECONDS_PER_MS),
            "eval_count": usage.completion_tokens,
            "eval_duration": round(timings.decode_ms * NANOSECONDS_PER_MS),
            "trimmed_messages": event.num_trimmed_messages,
        }
