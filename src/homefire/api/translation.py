"""What the translators of all dialects share: fields that ask for nothing, kinds of content, calls and results.

A translator is a pure function from a body to the internal request. Its work is linear in the body, and it may
run on any thread. `null` in an optional field is the same as leaving the field out, in every dialect.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from homefire.api.body import decode, unsupported
from homefire.errors import InvalidRequest, UnsupportedParameter, quoted
from homefire.types import Message, Part, StopReason, Text, ToolResult

T = TypeVar("T")

StopStrings = (
    Annotated[str, Meta(min_length=1)]
    | Annotated[list[Annotated[str, Meta(min_length=1)]], Meta(max_length=16)]
)
"""One or many; an empty one would end every answer at once."""
Temperature = Annotated[float, Meta(ge=0, le=2)]
Probability = Annotated[float, Meta(ge=0, le=1)]
Positive = Annotated[int, Meta(ge=1, le=1_000_000)]
TopK = Annotated[int, Meta(ge=0, le=1_000_000)]
RepetitionPenalty = Annotated[float, Meta(gt=0, le=10)]
Seed = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
NumLogprobs = Annotated[int, Meta(ge=0, le=20)]

ANY_JSON_OBJECT: dict[str, Any] = {"type": "object"}
NO_TOOLS_YET = "this server offers no tools to a model yet"
_KIND_OF_CONTENT = re.compile(r"content\[\d+\]\.type$")
_UNKNOWN_KIND = re.compile(r"Invalid value '(.*)'")


def decode_request(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """`decode`, which also says of content of a kind that is not read (a picture) what the matter is."""
    try:
        return decode(decoder, body)
    except UnsupportedParameter:
        raise
    except InvalidRequest as error:
        param = error.details.get("param", "")
        kind = _UNKNOWN_KIND.search(error.message)
        if kind is None or not _KIND_OF_CONTENT.search(param):
            raise
        raise unsupported(
            param, f"content of the kind {quoted(kind[1])} is not read", hint="Send its text."
        ) from None


Harmless = Mapping[str, tuple[object, ...]]
"""Field → the values of it, besides null, that ask for nothing."""


def refuse_unsupported(
    wanted: msgspec.Struct, harmless: Harmless, *, why: Mapping[str, str] | None = None, place: str = ""
) -> None:
    """UnsupportedParameter for the first field of `harmless` that asks for something."""
    for name, values in harmless.items():
        value = getattr(wanted, name)
        if value is not None and value not in values:
            raise unsupported(place + name, why.get(name) if why else None)


def stop_strings(stop: str | list[str] | None) -> tuple[str, ...]:
    """One or many as the internal request has them."""
    if stop is None:
        return ()
    return (stop,) if isinstance(stop, str) else tuple(stop)


def tool_message(call_id: str, text: str) -> Message:
    """The result of one call."""
    return Message("tool", (ToolResult(call_id, (Text(text),) if text else ()),))


def assistant_message(parts: list[Part]) -> Message:
    """What the model said, thought and called."""
    return Message("assistant", tuple(parts))


class CallHistory:
    """The calls of a conversation by id and name, for results that say only whose they are by name or order.

    Calls without an id get `call_1`, `call_2`, … in their order, so the same history always has the same ids.
    """

    def __init__(self) -> None:
        self._num_calls = 0
        self._names: dict[str, str] = {}
        self._open: dict[str, None] = {}
        self._open_by_name: dict[str, deque[str]] = {}

    def add(self, name: str, call_id: str | None = None) -> str:
        """A call; returns its id."""
        self._num_calls += 1
        call_id = call_id or f"call_{self._num_calls}"
        self._names[call_id] = name
        self._open[call_id] = None
        self._open_by_name.setdefault(name, deque()).append(call_id)
        return call_id

    def name_of(self, call_id: str) -> str | None:
        """The tool that was called; None for a call that is not in this history."""
        return self._names.get(call_id)

    def close(self, call_id: str) -> None:
        """The call of this id has its result."""
        self._open.pop(call_id, None)

    def close_first(self, name: str | None) -> str | None:
        """The id of the oldest call (to `name`) that had no result yet; None where there is none."""
        waiting = self._open if name is None else self._open_by_name.get(name, deque())
        while waiting:
            call_id = next(iter(self._open)) if name is None else self._open_by_name[name].popleft()
            if call_id in self._open:
                del self._open[call_id]
                return call_id
        return None


def name_of_stop(reason: StopReason, *, length: str, stop: str, tool_call: str, context: str) -> str:
    """Why an answer ended, in the words of a dialect; a cancelled one was stopped."""
    match reason:
        case "length":
            return length
        case "context":
            return context
        case "tool_call":
            return tool_call
    return stop
