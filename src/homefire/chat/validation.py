"""What a request must be before anything is done for it, whichever front door it came through.

Front doors refuse what their dialect does not have; the rules here are those of a turn itself. Every refusal
is InvalidRequest with `details["param"]`. A few microseconds.
"""

from __future__ import annotations

from typing import get_args

import msgspec

from homefire.chat.request import ChatRequest
from homefire.errors import InvalidRequest, quoted
from homefire.types import Attachment, Message, Reasoning, Role, Sampling, Text, ToolCall, ToolResult

ROLES = frozenset(get_args(Role))


def check_request(request: ChatRequest) -> None:
    """Raises InvalidRequest where the request is malformed or contradicts itself."""
    check_sampling(request.sampling)
    if request.prompt is not None:
        _check_raw(request)
    elif request.replaces_turn_id is not None:
        if request.messages:
            raise _refusal("messages", "A regenerated turn takes its messages from the turn it replaces.")
    else:
        check_messages(request.messages)


def check_messages(messages: tuple[Message, ...]) -> None:
    """A conversation that ends with what a user said, or with the result of a tool."""
    if not messages:
        raise _refusal("messages", "There is no message to answer.")
    for index, message in enumerate(messages):
        where = f"messages[{index}]"
        if message.role not in ROLES:
            known = ", ".join(sorted(ROLES))
            raise _refusal(where, f"{where} has the role {quoted(message.role)}; known are {known}.")
        if message.role == "user" and not message.content:
            raise _refusal(f"{where}.content", f"{where}.content is empty: a user's message needs text.")
        if isinstance(message.content, str):
            if message.role == "tool":
                raise _refusal(where, f"{where} holds no result of a tool.")
            _check_text(where, message.content)
        else:
            _check_parts(where, message)
    if messages[-1].role not in ("user", "tool"):
        raise _refusal(
            "messages",
            f"'messages' must end with the user's or a tool's; the last one has the role {quoted(messages[-1].role)}.",
        )


_PARTS_OF: dict[str, tuple[type, ...]] = {
    "system": (Text,),
    "user": (Text, Attachment),
    "assistant": (Text, Reasoning, ToolCall),
    "tool": (ToolResult,),
}
"""Which parts a role's message may have."""


def _check_parts(where: str, message: Message) -> None:
    for number, part in enumerate(message.parts):
        place = f"{where}.content[{number}]"
        if not isinstance(part, _PARTS_OF[message.role]):
            raise _refusal(place, f"{place} cannot be part of a message of the role {quoted(message.role)}.")
        try:
            msgspec.json.encode(part)
        except UnicodeEncodeError:
            raise _half_a_pair(place) from None


def check_sampling(sampling: Sampling) -> None:
    """Ranges that hold for every engine."""
    if sampling == Sampling():
        return
    _check_range("max_tokens", sampling.max_tokens, low=1)
    _check_range("temperature", sampling.temperature, low=0)
    _check_range("top_p", sampling.top_p, low=0, high=1)
    _check_range("top_k", sampling.top_k, low=0)
    _check_range("min_p", sampling.min_p, low=0, high=1)
    _check_range("repetition_penalty", sampling.repetition_penalty, low=0)
    _check_range("logprobs", sampling.num_logprobs, low=0, high=20)
    if not all(sampling.stop):
        raise _refusal("stop", "A stop string is empty: it would end every answer at once.")
    if sampling.json_schema is not None and sampling.grammar is not None:
        raise _refusal("grammar", "A JSON schema and a grammar exclude each other.")


def _check_raw(request: ChatRequest) -> None:
    if not request.prompt:
        raise _refusal("prompt", "The prompt is empty.")
    if request.messages or request.session_id is not None or request.replaces_turn_id is not None:
        raise _refusal("prompt", "A raw prompt is sent alone: no messages, session or turn beside it.")
    _check_text("prompt", request.prompt)


def _check_text(where: str, text: str) -> None:
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _half_a_pair(where) from None


def _half_a_pair(where: str) -> InvalidRequest:
    return _refusal(where, f"{where} holds half of a surrogate pair, which is not a character.")


def _check_range(param: str, value: float | None, *, low: float, high: float = float("inf")) -> None:
    if value is not None and not low <= value <= high:
        limits = f"at least {low:g}" if high == float("inf") else f"from {low:g} to {high:g}"
        raise _refusal(param, f"{param} must be {limits}; it is {value}.")


def _refusal(param: str, message: str) -> InvalidRequest:
    return InvalidRequest(message, param=param)
