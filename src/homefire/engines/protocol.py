"""What crosses the Unix socket between the server and an engine worker: length-prefixed msgpack frames.

A frame is four bytes of length (big-endian) and that many bytes of msgpack: one of the structs below. Nothing
larger than `MAX_FRAME_BYTES` is sent or believed; garbage is a ProtocolError, never a guess. The server sends
`Load` first and everything else after `Ready`. Encoding a token costs about a microsecond.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, TypeVar

import msgspec

from homefire import errors
from homefire.engines.base import Embeddings, EngineRequest, Generated, ModelSpec
from homefire.types import Message

MAX_FRAME_BYTES = 64 * 1024 * 1024
_LENGTH = struct.Struct(">I")
_T = TypeVar("_T")


class ProtocolError(errors.EngineError):
    """The other side of the socket sent something that is not a frame."""

    code = "engine_protocol_error"


class _Frame(msgspec.Struct, frozen=True, tag_field="do"):
    pass


# Server to worker


class Load(_Frame, frozen=True, tag="load"):
    """Verify, check and load; answered by `Ready`, or by `Failed` for call 0."""

    spec: ModelSpec


class Generate(_Frame, frozen=True, tag="generate"):
    """Answered by any number of `Item`s (the last one a Finish) or by `Failed`."""

    call: int
    request: EngineRequest


class Cancel(_Frame, frozen=True, tag="cancel"):
    """End a generation within one token. It still answers with its Finish."""

    call: int


class Count(_Frame, frozen=True, tag="count"):
    """Answered by `Counted` or `Failed`."""

    call: int
    messages: tuple[Message, ...] = ()
    prompt: str | None = None


class Embed(_Frame, frozen=True, tag="embed"):
    """Answered by `Embedded` or `Failed`."""

    call: int
    texts: tuple[str, ...]


class Ping(_Frame, frozen=True, tag="ping"):
    """Answered by `Pong` at once, whatever else goes on."""


# Worker to server


class Ready(_Frame, frozen=True, tag="ready"):
    """The model is loaded."""

    load_ms: float


class Item(_Frame, frozen=True, tag="item"):
    """A piece of an answer."""

    call: int
    item: Generated


class Working(_Frame, frozen=True, tag="working"):
    """A long prompt is being read: a sign of life before the first token."""

    call: int


class Counted(_Frame, frozen=True, tag="counted"):
    """The number of tokens."""

    call: int
    num_tokens: int


class Embedded(_Frame, frozen=True, tag="embedded"):
    """One unit vector for each text."""

    call: int
    embeddings: Embeddings


class Failed(_Frame, frozen=True, tag="failed"):
    """A typed error, as it is to be raised on the server's side."""

    call: int
    code: str
    message: str
    hint: str | None = None
    details: dict[str, Any] = {}


class Pong(_Frame, frozen=True, tag="pong"):
    """Alive."""


ToWorker = Load | Generate | Cancel | Count | Embed | Ping
ToServer = Ready | Item | Working | Counted | Embedded | Failed | Pong


def encode(frame: ToWorker | ToServer) -> bytes:
    """The bytes of one frame, with their length in front."""
    body = msgspec.msgpack.encode(frame)
    if len(body) > MAX_FRAME_BYTES:
        raise ProtocolError(
            f"A message to or from the engine has {len(body)} bytes; {MAX_FRAME_BYTES} are allowed."
        )
    return _LENGTH.pack(len(body)) + body


class FrameReader:
    """Takes bytes as they come and gives out the bodies of whole frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Bodies completed by `data`; ProtocolError for a length that no frame has."""
        buffer = self._buffer
        buffer += data
        position = 0
        while len(buffer) - position >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(buffer, position)
            if length > MAX_FRAME_BYTES:
                raise ProtocolError(f"The engine's socket announced a frame of {length} bytes.")
            end = position + _LENGTH.size + length
            if len(buffer) < end:
                break
            yield bytes(buffer[position + _LENGTH.size : end])
            position = end
        del buffer[:position]


def to_worker_decoder() -> msgspec.msgpack.Decoder[ToWorker]:
    """For the worker: bodies to frames."""
    return msgspec.msgpack.Decoder(ToWorker)


def to_server_decoder() -> msgspec.msgpack.Decoder[ToServer]:
    """For the server: bodies to frames."""
    return msgspec.msgpack.Decoder(ToServer)


def decode_body(decoder: msgspec.msgpack.Decoder[_T], body: bytes) -> _T:
    """One frame from its body; ProtocolError for anything else."""
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise ProtocolError(f"The engine's socket carried something that is not a frame: {error}.") from error


def failed(call: int, error: errors.HomefireError) -> Failed:
    """An error as a frame."""
    details = {
        key: value
        for key, value in error.details.items()
        if value is None or isinstance(value, str | int | float | list)
    }
    return Failed(call, error.code, error.message, error.hint, details)


def raised(frame: Failed) -> errors.HomefireError:
    """A frame as the error it stands for: the same class, message, hint and figures."""
    return _error_class(frame.code)(frame.message, hint=frame.hint, **frame.details)


def _error_class(code: str) -> type[errors.HomefireError]:
    pending: list[type[errors.HomefireError]] = [errors.HomefireError]
    while pending:
        candidate = pending.pop()
        if candidate.code == code:
            return candidate
        pending.extend(candidate.__subclasses__())
    return errors.EngineError
