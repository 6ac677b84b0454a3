"""Reading and decoding a request body: bounded while it arrives, strict, and naming what was wrong.

`read_body` stops at the first byte over the limit and at the deadline, so neither a huge nor an endless body
costs memory or a task. `decode` turns msgspec's complaints into errors that carry the name of the field:
an unknown field is an `UnsupportedParameter`, never ignored. About 3 µs for a chat request.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeVar

import msgspec

from homefire.errors import BodyTooLarge, InvalidRequest, RequestTimeout, UnsupportedParameter

T = TypeVar("T")
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]

_PLACE = re.compile(r" - at `(?P<place>[^`]*)`$")
_FIELD = re.compile(r"(?:unknown|required) field `(?P<field>[^`]*)`")


class ClientGone(Exception):
    """The client closed the connection; there is nobody to answer."""


async def read_body(
    receive: Receive, *, declared_bytes: bytes | None, max_bytes: int, timeout_s: float
) -> bytes:
    """The whole body, or BodyTooLarge as soon as more than `max_bytes` is declared or seen.

    Raises InvalidRequest for a senseless Content-Length, RequestTimeout, ClientGone.
    """
    if declared_bytes is not None:
        if not declared_bytes.isdigit():
            raise InvalidRequest("The Content-Length header is not a number.", param="content-length")
        if int(declared_bytes) > max_bytes:
            raise _too_large(max_bytes)
    try:
        async with asyncio.timeout(timeout_s):
            return await _collect(receive, max_bytes)
    except TimeoutError:
        raise RequestTimeout(
            f"The body of the request did not arrive within {timeout_s:g} s.",
            hint="Send it faster, or raise server.request_timeout_s.",
            timeout_s=timeout_s,
        ) from None


async def _collect(receive: Receive, max_bytes: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        if size > max_bytes:
            raise _too_large(max_bytes)
        if not message.get("more_body", False):
            return b"".join((*chunks, chunk)) if chunks else chunk
        chunks.append(chunk)


def _too_large(max_bytes: int) -> BodyTooLarge:
    return BodyTooLarge(
        f"The body of the request is larger than {max_bytes} bytes.",
        hint="Send less, or raise server.max_body_bytes.",
        limit_bytes=max_bytes,
    )


def decode(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """Strictly typed JSON; InvalidRequest or UnsupportedParameter with `details["param"]` otherwise."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise _explained(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        reason = "it is empty" if not body.strip() else str(error)
        raise InvalidRequest(
            f"The body of the request is not valid JSON: {reason}.", hint="Send one JSON object."
        ) from None
    except RecursionError:
        raise InvalidRequest("The JSON of the request is nested too deeply.") from None


def _explained(complaint: str) -> InvalidRequest:
    place = _PLACE.search(complaint)
    param = place["place"].removeprefix("$").removeprefix(".") if place else ""
    reason = complaint[: place.start()] if place else complaint
    named = _FIELD.search(reason)
    if named:
        param = f"{param}.{named['field']}" if param else named["field"]
    if "unknown field" in reason:
        return unsupported(param)
    if "missing required field" in reason:
        return InvalidRequest(f"The field {param!r} is missing.", param=param)
    if not param:
        return InvalidRequest(f"The body of the request does not fit: {reason}.")
    return InvalidRequest(f"The field {param!r} does not fit: {reason}.", param=param)


def unsupported(param: str, why: str | None = None, *, hint: str | None = None) -> UnsupportedParameter:
    """The error for a field that this server does not act on."""
    reason = why or "this server knows no such field or does not act on it"
    return UnsupportedParameter(
        f"Unsupported parameter: {param!r} ({reason}).",
        hint=hint or "Leave it out: nothing is ignored silently here.",
        param=param,
    )


def invalid(param: str, why: str, *, hint: str | None = None) -> InvalidRequest:
    """The error for a field whose value makes no sense."""
    return InvalidRequest(f"The field {param!r} does not fit: {why}.", hint=hint, param=param)
