"""Reading and decoding a request body: bounded while it arrives, strict, and naming what was wrong.

`read_body` stops at the first byte over the limit, also while it unpacks a compressed body, so neither a huge
nor an endless body nor a bomb costs memory or time. `decode` turns msgspec's complaints into errors that carry the
name of the field: an unknown field is an `UnsupportedParameter`, never ignored. About 3 µs for a chat request.
"""

from __future__ import annotations

import asyncio
import re
import zlib
from typing import TypeVar

import msgspec

from homefire.api.asgi import Receive
from homefire.api.policy import HeaderMap
from homefire.errors import BodyTooLarge, InvalidRequest, UnsupportedMediaType, UnsupportedParameter, quoted

T = TypeVar("T")

LARGE_BODY_BYTES = 32 * 1024
"""Longer ones are decoded in a thread: other requests wait for no more than a switch of threads."""
ENCODINGS = frozenset({b"gzip", b"x-gzip", b"deflate"})
ENCODINGS_SHOWN = ("gzip", "deflate")
_ZLIB_OR_GZIP = 32 + zlib.MAX_WBITS
_PACKED_STEP = 512
"""Unpacks to half a megabyte at most: deflate's best is 1032 to 1."""
_UNPACKED_AT_A_STRETCH = 128 * 1024

_PLACE = re.compile(r" - at `(?P<place>[^`]*)`$")
_FIELD = re.compile(r"(?:unknown|required) field `(?P<field>[^`]*)`")


class ClientGone(Exception):
    """The client closed the connection; there is nobody to answer."""


async def read_body(receive: Receive, headers: HeaderMap, *, max_bytes: int) -> bytes:
    """The whole body, decompressed; BodyTooLarge as soon as more than `max_bytes` is declared, sent or unpacked.

    Raises InvalidRequest for a senseless Content-Length or broken compression, UnsupportedMediaType for an encoding
    that is not known, ClientGone. How long it may take is the caller's business.
    """
    declared = headers.get(b"content-length")
    if declared is not None:
        if not declared.isdigit():
            raise InvalidRequest("The Content-Length header is not a number.", param="content-length")
        if int(declared) > max_bytes:
            raise _too_large(max_bytes)
    chunks: list[bytes] = []
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > max_bytes:
            raise _too_large(max_bytes)
        more = message.get("more_body", False)
    body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
    if b"content-encoding" in headers:
        return await _decompressed(body, headers[b"content-encoding"], max_bytes=max_bytes)
    return body


async def _decompressed(body: bytes, encoding: bytes, *, max_bytes: int) -> bytes:
    """Unpacked in small pieces, so that neither a bomb nor a large body holds up others for more than 1 ms."""
    name = encoding.strip().lower()
    if name in (b"", b"identity"):
        return body
    if name not in ENCODINGS:
        raise UnsupportedMediaType(
            f"The Content-Encoding {quoted(encoding.decode('latin-1')[:100])} is not understood.",
            hint=f"Send {' or '.join(ENCODINGS_SHOWN)}, or the body as it is.",
            encodings=ENCODINGS_SHOWN,
        )
    unpacker = zlib.decompressobj(wbits=_ZLIB_OR_GZIP)
    pieces: list[bytes] = []
    size = since_pause = 0
    try:
        for begin in range(0, len(body), _PACKED_STEP):
            piece = unpacker.decompress(body[begin : begin + _PACKED_STEP], max_bytes - size + 1)
            size += len(piece)
            since_pause += len(piece) + _PACKED_STEP
            if size > max_bytes:
                raise _too_large(max_bytes)
            pieces.append(piece)
            if since_pause > _UNPACKED_AT_A_STRETCH:
                since_pause = 0
                await asyncio.sleep(0)
    except zlib.error as error:
        raise _broken_encoding(name, str(error)) from None
    if not unpacker.eof:
        raise _broken_encoding(name, "it ends too early")
    if unpacker.unused_data:
        raise _broken_encoding(name, "there is data after its end")
    return b"".join(pieces)


def _broken_encoding(name: bytes, why: str) -> InvalidRequest:
    return InvalidRequest(
        f"The body of the request cannot be unpacked as {name.decode()}: {why}.", param="content-encoding"
    )


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
        return InvalidRequest(f"The field {quoted(param)} is missing.", param=param)
    if not param:
        return InvalidRequest(f"The body of the request does not fit: {reason}.")
    return InvalidRequest(f"The field {quoted(param)} does not fit: {reason}.", param=param)


def unsupported(param: str, why: str | None = None, *, hint: str | None = None) -> UnsupportedParameter:
    """The error for a field that this server does not act on."""
    reason = why or "this server knows no such field or does not act on it"
    return UnsupportedParameter(
        f"Unsupported parameter: {quoted(param)} ({reason}).",
        hint=hint or "Leave it out: nothing is ignored silently here.",
        param=param,
    )


def invalid(param: str, why: str, *, hint: str | None = None) -> InvalidRequest:
    """The error for a field whose value makes no sense."""
    return InvalidRequest(f"The field {quoted(param)} does not fit: {why}.", hint=hint, param=param)
