"""The Anthropic dialect: `/v1/messages`, plain and streamed, and its exact token count.

A user's message with results of tools and text becomes a tool's message and a user's, in its order. A stream's
`message_start` carries the prompt's tokens, counted by the engine when its first token is there; how many of
them came from the prefix cache is known at the end, and said in `message_delta`. The query (`?beta=true`)
changes nothing: what a beta would add is refused by the name of its field.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any

import msgspec

from homefire.api.anthropic_types import (
    AnswerBlock,
    AnswerMessage,
    Block,
    CountBody,
    MessagesBody,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
    UsageBlock,
)
from homefire.api.body import invalid, unsupported
from homefire.api.chat_endpoint import Translated
from homefire.api.translation import (
    NO_TOOLS_YET,
    Harmless,
    assistant_message,
    decode_request,
    name_of_stop,
    refuse_unsupported,
    stop_strings,
)
from homefire.chat.context import compose
from homefire.chat.request import ChatRequest, Ended, Principal, Started
from homefire.engines.base import Delta
from homefire.errors import quoted
from homefire.serving.router import Router, RouteRequest
from homefire.serving.serving import Serving
from homefire.types import Message, Part, Reasoning, Sampling, Text, ToolCall, ToolResult

CountTokens = Callable[[str, tuple[Message, ...]], Awaitable[int]]
HARMLESS: Harmless = {
    "tools": ([],),
    "speed": ("standard",),
    "mcp_servers": ([],),
    "context_management": ({}, {"edits": []}),
}
_HARMLESS_IN_MESSAGES: Harmless = {
    **HARMLESS,
    **dict.fromkeys(
        ("container", "diagnostics", "inference_geo", "compaction", "fallbacks", "billing_policy", "thread"),
        (),
    ),
}
_NO_CHOICE = ("auto", "none")
_BLOCK_START = (
    b'event: content_block_start\ndata: {"type":"content_block_start","index":0,'
    b'"content_block":{"type":"text","text":""}}\n\nevent: ping\ndata: {"type":"ping"}\n\n'
)
_BLOCK_DELTA = (
    b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,'
    b'"delta":{"type":"text_delta","text":%s}}\n\n'
)
_BLOCK_STOP = b'event: content_block_stop\ndata: {"type":"content_block_stop","index":0}\n\n'
_MESSAGE_START = b'event: message_start\ndata: {"type":"message_start","message":%s}\n\n'
_MESSAGE_DELTA = (
    b'event: message_delta\ndata: {"type":"message_delta",'
    b'"delta":{"stop_reason":%s,"stop_sequence":%s},"usage":%s}\n\n'
)
_MESSAGE_STOP = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'


class AnthropicMessages:
    """Translates bodies of `/v1/messages`."""

    def __init__(self) -> None:
        self._decoder = msgspec.json.Decoder(MessagesBody)

    def __call__(self, body: bytes, principal: Principal) -> Translated:
        """InvalidRequest or UnsupportedParameter where the body cannot be served as it is."""
        wanted = decode_request(self._decoder, body)
        _refuse_unsupported(wanted, _HARMLESS_IN_MESSAGES)
        streamed = bool(wanted.stream)
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
                stop=stop_strings(wanted.stop_sequences),
                json_schema=_schema(wanted),
            ),
            count_prompt=streamed,
        )
        return request, _Answer(streamed=streamed)


class AnthropicCount:
    """Answers `/v1/messages/count_tokens` with what the engine itself counts."""

    def __init__(self, count_tokens: CountTokens) -> None:
        self._count_tokens = count_tokens
        self._decoder = msgspec.json.Decoder(CountBody)

    def __call__(self, body: bytes, principal: Principal) -> Translated:
        """The count as a document; errors as for the message itself."""
        wanted = decode_request(self._decoder, body)
        _refuse_unsupported(wanted, HARMLESS)
        messages = _conversation(wanted)

        async def count() -> bytes:
            return msgspec.json.encode({"input_tokens": await self._count_tokens(wanted.model, messages)})

        return count


def prompt_counter(serving: Serving, router: Router, *, system_prompt: str | None) -> CountTokens:
    """Counts what a turn would send to the model: the conversation as `chat.context` composes it."""

    async def count(model: str, messages: tuple[Message, ...]) -> int:
        context = compose(messages, system_prompt=system_prompt)
        return await serving.count_tokens(router.route(RouteRequest(model=model)), context.messages)

    return count


def _refuse_unsupported(wanted: CountBody, harmless: Harmless) -> None:
    refuse_unsupported(wanted, harmless, why={"tools": NO_TOOLS_YET})
    choice = wanted.tool_choice
    if choice is not None and not (isinstance(choice, dict) and choice.get("type") in _NO_CHOICE):
        raise unsupported("tool_choice", "there are no tools to choose from")
    if wanted.thinking is not None and wanted.thinking.type != "disabled":
        raise unsupported("thinking", "models are asked to answer without thinking first")
    if wanted.output_config is not None and wanted.output_config.effort is not None:
        raise unsupported("output_config.effort")


def _schema(wanted: MessagesBody) -> dict[str, Any] | None:
    form = wanted.output_config.format if wanted.output_config is not None else None
    older = wanted.output_format
    if form is not None and older is not None and form != older:
        raise invalid("output_format", "it contradicts output_config.format", hint="Send one of them.")
    form = form or older
    return form.schema if form is not None else None


def _conversation(wanted: CountBody) -> tuple[Message, ...]:
    messages: list[Message] = []
    if wanted.system:
        system = wanted.system
        text = system if isinstance(system, str) else "\n\n".join(_texts(system, "system"))
        if text:
            messages.append(Message("system", text))
    for index, message in enumerate(wanted.messages):
        place = f"messages[{index}].content"
        content = message.content
        if isinstance(content, str):
            messages.append(_plain(message.role, content, index))
            continue
        match message.role:
            case "user":
                messages.extend(_users(content, place))
            case "assistant":
                messages.append(assistant_message(list(_assistants(content, place))))
            case role:
                messages.append(_plain(role, "".join(_texts(content, place)), index))
    return tuple(messages)


def _plain(role: str, text: str, index: int) -> Message:
    match role:
        case "user":
            return Message(role, _not_empty(text, f"messages[{index}].content"))
        case "assistant" | "system":
            return Message(role, text)
    raise unsupported(f"messages[{index}].role", f"{quoted(role)} is not one of user, assistant, system")


def _not_empty(text: str, place: str) -> str:
    if not text:
        raise invalid(place, "it is empty: a user's message needs text")
    return text


def _users(content: list[Block], place: str) -> Iterator[Message]:
    """Results of tools and text, each run of them a message of its own."""
    if not any(isinstance(block, ToolResultBlock) for block in content):
        yield Message("user", _not_empty("".join(_texts(content, place)), place))
        return
    results: list[ToolResult] = []
    text = ""
    for number, block in enumerate(content):
        if isinstance(block, ToolResultBlock):
            if text:
                yield Message("user", text)
                text = ""
            results.append(_result(block, f"{place}[{number}]"))
            continue
        (said,) = _texts((block,), place, first=number)
        if results and said:
            yield Message("tool", tuple(results))
            results = []
        text += said
    if results:
        yield Message("tool", tuple(results))
    if text:
        yield Message("user", text)


def _result(block: ToolResultBlock, place: str) -> ToolResult:
    content = block.content or ""
    text = content if isinstance(content, str) else "".join(_texts(content, f"{place}.content"))
    if block.toolset_name:
        raise unsupported(f"{place}.toolset_name")
    return ToolResult(block.tool_use_id, (Text(text),) if text else (), is_error=bool(block.is_error))


def _assistants(content: list[Block], place: str) -> Iterator[Part]:
    for number, block in enumerate(content):
        if isinstance(block, ThinkingBlock):
            yield Reasoning(block.thinking, block.signature or None)
        elif isinstance(block, ToolUseBlock):
            if block.caller not in (None, {"type": "direct"}):
                raise unsupported(f"{place}[{number}].caller")
            if block.toolset_name:
                raise unsupported(f"{place}[{number}].toolset_name")
            yield ToolCall(block.id, block.name, block.input)
        else:
            (text,) = _texts((block,), place, first=number)
            yield Text(text)


def _texts(content: Iterable[Block], place: str, *, first: int = 0) -> Iterator[str]:
    for number, block in enumerate(content, first):
        if not isinstance(block, TextBlock):
            kind = block.__struct_config__.tag
            raise invalid(f"{place}[{number}].type", f"a message of this role has no {kind}")
        if block.citations:
            raise unsupported(f"{place}[{number}].citations")
        yield block.text


class _Answer:
    """Encodes the events of one turn."""

    def __init__(self, *, streamed: bool) -> None:
        self.streamed = streamed
        self._encode = msgspec.json.encode

    def started(self, event: Started) -> bytes:
        usage = UsageBlock(event.prompt_tokens or 0, 0)
        message = AnswerMessage(event.turn_id, event.served_model, [], None, None, usage)
        return _MESSAGE_START % self._encode(message) + _BLOCK_START

    def delta(self, event: Delta) -> bytes:
        return _BLOCK_DELTA % self._encode(event.text)

    def ended(self, event: Ended) -> bytes:
        encode = self._encode
        last = _MESSAGE_DELTA % (
            encode(_stop_reason(event)),
            encode(event.stop_string),
            encode(_usage(event)),
        )
        return _BLOCK_STOP + last + _MESSAGE_STOP

    def whole(self, started: Started, deltas: list[Delta], ended: Ended) -> bytes:
        return self._encode(
            AnswerMessage(
                started.turn_id,
                started.served_model,
                [AnswerBlock(ended.text)],
                _stop_reason(ended),
                ended.stop_string,
                _usage(ended),
            )
        )


def _stop_reason(event: Ended) -> str:
    if event.stop_string is not None:
        return "stop_sequence"
    return name_of_stop(
        event.stop_reason,
        stop="end_turn",
        length="max_tokens",
        context="model_context_window_exceeded",
        tool_call="tool_use",
    )


def _usage(event: Ended) -> UsageBlock:
    usage = event.usage
    return UsageBlock(
        input_tokens=usage.prompt_tokens - usage.cached_tokens,
        output_tokens=usage.completion_tokens,
        cache_creation_input_tokens=0,
        cache_read_input_tokens=usage.cached_tokens,
        trimmed_messages=event.num_trimmed_messages,
    )
