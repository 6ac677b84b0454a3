"""Frames survive any cutting, and garbage is an error and never a guess."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homefire import errors
from homefire.engines import protocol
from homefire.engines.base import Delta
from homefire.engines.worker import join_pieces


@given(st.lists(st.text(max_size=40), max_size=6), st.integers(1, 50))
def test_frames_come_out_whole_however_they_are_cut(texts: list[str], size: int) -> None:
    sent = [protocol.Item(index, Delta(text)) for index, text in enumerate(texts)]
    stream = b"".join(protocol.encode(frame) for frame in sent)
    reader, decoder = protocol.FrameReader(), protocol.to_server_decoder()
    bodies = [
        body for start in range(0, len(stream), size) for body in reader.feed(stream[start : start + size])
    ]
    assert [protocol.decode_body(decoder, body) for body in bodies] == sent


def test_an_impossible_length_is_refused_before_it_is_believed() -> None:
    with pytest.raises(protocol.ProtocolError):
        list(protocol.FrameReader().feed(b"\xff\xff\xff\xff"))


@given(st.binary(max_size=60))
def test_garbage_is_a_typed_error(body: bytes) -> None:
    decoder = protocol.to_worker_decoder()
    try:
        frame = protocol.decode_body(decoder, body)
    except protocol.ProtocolError:
        return
    assert protocol.encode(frame)


def test_an_error_arrives_as_what_it_was() -> None:
    sent = errors.ContextOverflow("too long", hint="shorter", prompt_tokens=9, limit=8, max_tokens=None)
    arrived = protocol.raised(protocol.failed(3, sent))
    assert type(arrived) is errors.ContextOverflow
    assert (arrived.message, arrived.hint, arrived.details) == (sent.message, sent.hint, sent.details)


def test_an_error_of_an_unknown_kind_is_still_an_engine_error() -> None:
    assert type(protocol.raised(protocol.Failed(1, "from_the_future", "hm"))) is errors.EngineError


def test_joined_pieces_say_the_same() -> None:
    frames: list[protocol.ToServer] = [
        protocol.Item(1, Delta("a")),
        protocol.Item(2, Delta("x")),
        protocol.Working(3),
        protocol.Item(1, Delta("b")),
        protocol.Pong(),
        protocol.Item(2, Delta("y")),
    ]
    joined = join_pieces(frames)
    assert joined == [
        protocol.Item(1, Delta("ab")),
        protocol.Item(2, Delta("xy")),
        protocol.Working(3),
        protocol.Pong(),
    ]
