"""The OpenAI dialect: `/v1/chat/completions` decoded into the one internal request, and its answer encoded.

Where a chat request's walk begins: `OpenAIChat.__call__` → `ChatEndpoint` → `chat.turn`. A parameter this server
does not act on is an error that names it. The answer's `id` is the turn's id. Tool calls and their results in the
history become message parts; the older `function_call` and role `function` are read as the same.
"""

from __future__ import annotations

import time
from typing import Any

import msgspec

from homefire.api.body import invalid, unsupported
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
    FunctionCall,
    Logprobs,
    ToolCallPart,
    UsageBlock,
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
from homefire.chat.request import ChatRequest, Ended, Principal, Started
from homefire.engines.base import Delta
from homefire.errors import quoted
from homefire.types import Message, Part, Reasoning, Role, Sampling, Text, ToolCall

DONE = b"data: [DONE]\n\n"
HARMLESS: Harmless = {
    "tools": ([],),
    "functions": ([],),
    "tool_choice": ("none", "auto"),
    "function_call": ("none", "auto"),
    "n": (1,),
    "store": (False,),
    "service_tier": ("auto", "default"),
    "modalities": (["text"],),
    "logit_bias": ({},),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "reasoning_effort": ("none",),
    "verbosity": ("medium",),
    "audio": (),
    "prediction": (),
    "web_search_options": (),
    "moderation": (),
}
"""Every field that is refused, `tools` before what only speaks of them."""
_WHY = {
    "n": "each request gets one answer; ask n times",
    "tools": NO_TOOLS_YET,
    "functions": NO_TOOLS_YET,
    "tool_choice": "there are no tools to choose from",
    "function_call": "there are no functions to choose from",
}
_SYSTEM_ROLES = frozenset({"system", "developer"})
_ROLES = ("system", "developer", "user", "assistant", "tool", "function")
_ASSISTANTS_OWN = ("tool_calls", "function_call", "reasoning_content", "reasoning")


class OpenAIChat:
    """Translates bodies of `/v1/chat/completions`."""

    def __init__(self) -> None:
        self._decoder = msgspec.json.Decoder(ChatBody)
        self._encoder = msgspec.json.Encoder()

    def __call__(self, body: bytes, principal: Principal) -> Translated:
        """InvalidRequest or UnsupportedParameter where the body cannot be served as it is."""
        wanted = decode_request(self._decoder, body)
        refuse_unsupported(wanted, HARMLESS, why=_WHY)
        options = wanted.stream_options
        include_usage = bool(options and options.include_usage)
        if include_usage and not wanted.stream:
            raise invalid("stream_options", "it is only for streams", hint="Set stream to true.")
        calls = CallHistory()
        request = ChatRequest(
            messages=tuple(_message(message, index, calls) for index, message in enumerate(wanted.messages)),
            model=wanted.model,
            principal=principal,
            channel="openai",
            sampling=_sampling(wanted),
        )
        return request, _Answer(
            self._encoder,
            streamed=bool(wanted.stream),
            include_usage=include_usage,
            logprobs=bool(wanted.logprobs),
        )


def _message(message: ChatMessage, index: int, calls: CallHistory) -> Message:
    if message.refusal or message.audio or message.annotations or message.images:
        raise _unkept(message, ("refusal", "audio", "annotations", "images"), index)
    if message.reasoning_details or message.thinking_blocks:
        raise _unkept(message, ("reasoning_details", "thinking_blocks"), index)
    if message.provider_specific_fields and any(message.provider_specific_fields.values()):
        raise _unkept(message, ("provider_specific_fields",), index)
    said = message.content
    text = said if said is None or isinstance(said, str) else "".join([part.text for part in said])
    match message.role:
        case "assistant":
            return _assistants(message, index, text, calls)
        case "tool" | "function":
            return _result(message, index, text, calls)
        case "user" | "system" | "developer":
            return Message(_plain_role(message, index), _present(text, index))
    raise unsupported(f"messages[{index}].role", f"{quoted(message.role)} is not one of {', '.join(_ROLES)}")


def _unkept(message: ChatMessage, names: tuple[str, ...], index: int) -> Exception:
    name = next(name for name in names if getattr(message, name))
    return unsupported(f"messages[{index}].{name}", "a message here has no place for it")


def _present(text: str | None, index: int) -> str:
    if text is None:
        raise invalid(f"messages[{index}].content", "it is missing")
    return text


def _plain_role(message: ChatMessage, index: int) -> Role:
    for name in (*_ASSISTANTS_OWN, "tool_call_id"):
        if getattr(message, name):
            raise invalid(f"messages[{index}].{name}", f"a message of the role {message.role} has none")
    if message.name:
        raise unsupported(f"messages[{index}].name", "names of speakers are not shown to models")
    return "system" if message.role in _SYSTEM_ROLES else "user"


def _assistants(message: ChatMessage, index: int, text: str | None, calls: CallHistory) -> Message:
    place = f"messages[{index}]"
    if message.name:
        raise unsupported(f"{place}.name", "names of speakers are not shown to models")
    if message.tool_call_id:
        raise invalid(f"{place}.tool_call_id", "only the result of a call has one")
    parts: list[Part] = []
    thought = message.reasoning_content or message.reasoning
    if thought:
        if message.reasoning and message.reasoning != thought:
            raise invalid(f"{place}.reasoning", "it contradicts reasoning_content", hint="Send one of them.")
        parts.append(Reasoning(thought))
    if text:
        parts.append(Text(text))
    for number, call in enumerate(message.tool_calls or ()):
        parts.append(_call(call, f"{place}.tool_calls[{number}]", calls))
    if message.function_call is not None:
        call_id = calls.add(message.function_call.name)
        parts.append(_function(message.function_call, call_id, f"{place}.function_call"))
    if not parts:
        return Message("assistant", _present(text, index))
    return assistant_message(parts)


def _call(call: ToolCallPart, place: str, calls: CallHistory) -> ToolCall:
    if call.type not in (None, "function") or call.custom is not None:
        raise unsupported(f"{place}.type", f"{quoted(call.type)}: only calls of functions are understood")
    if call.function is None:
        raise invalid(f"{place}.function", "it is missing")
    return _function(call.function, calls.add(call.function.name, call.id), f"{place}.function")


def _function(call: FunctionCall, call_id: str, place: str) -> ToolCall:
    try:
        arguments = msgspec.json.decode(call.arguments or "{}")
    except (msgspec.MsgspecError, RecursionError):
        arguments = None
    if not isinstance(arguments, dict):
        raise invalid(f"{place}.arguments", "it is not a JSON object as a string")
    return ToolCall(call_id, call.name, arguments)


def _result(message: ChatMessage, index: int, text: str | None, calls: CallHistory) -> Message:
    place = f"messages[{index}]"
    for name in _ASSISTANTS_OWN:
        if getattr(message, name):
            raise invalid(f"{place}.{name}", "the result of a call has none")
    call_id = message.tool_call_id
    if message.role == "function":
        if not message.name:
            raise invalid(f"{place}.name", "it is missing: it says which function's result this is")
        call_id = calls.close_first(message.name)
        if call_id is None:
            raise invalid(f"{place}.name", f"no call of {quoted(message.name)} waits for a result")
    elif not call_id:
        raise invalid(f"{place}.tool_call_id", "it is missing: it says which call's result this is")
    elif message.name and message.name != calls.name_of(call_id):
        raise invalid(f"{place}.name", "the call with this tool_call_id has another name, or is not there")
    return tool_message(call_id, _present(text, index))


def _sampling(wanted: ChatBody) -> Sampling:
    old, new = wanted.max_tokens, wanted.max_completion_tokens
    if old is not None and new is not None and old != new:
        raise invalid("max_tokens", "it contradicts max_completion_tokens", hint="Send one of them.")
    if wanted.top_logprobs and not wanted.logprobs:
        raise invalid("top_logprobs", "it needs logprobs to be true")
    return Sampling(
        max_tokens=new if new is not None else old,
        temperature=wanted.temperature,
        top_p=wanted.top_p,
        top_k=wanted.top_k,
        min_p=wanted.min_p,
        repetition_penalty=wanted.repetition_penalty,
        seed=wanted.seed,
        stop=stop_strings(wanted.stop),
        json_schema=_schema(wanted),
        num_logprobs=(wanted.top_logprobs or 0) if wanted.logprobs else None,
    )


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
    return name_of_stop(
        event.stop_reason, stop="stop", length="length", context="length", tool_call="tool_calls"
    )


def _usage(event: Ended) -> UsageBlock:
    usage = event.usage
    return UsageBlock(
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        total_tokens=usage.prompt_tokens + usage.completion_tokens,
        prompt_tokens_details=CachedDetails(usage.cached_tokens),
        trimmed_messages=event.num_trimmed_messages,
    )
