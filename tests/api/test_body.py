"""Bodies: exactly as long as allowed, packed or not, and never a bomb."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from homefire.api import body
from homefire.api.body import read_body
from homefire.errors import BodyTooLarge, InvalidRequest, UnsupportedMediaType
from tests.api.house import House, close_house, open_house

LIMIT = 300
Pack = Callable[[bytes], bytes]


def document_of(size: int) -> bytes:
    """A chat that is `size` bytes long."""
    shell = len(json.dumps({"message": ""}))
    return json.dumps({"message": "x" * (size - shell)}).encode()


@pytest.mark.parametrize(("size", "status"), [(LIMIT - 1, 200), (LIMIT, 200), (LIMIT + 1, 413)])
@pytest.mark.parametrize("pack", [None, gzip.compress, zlib.compress])
@pytest.mark.parametrize("declared", [True, False])
async def test_the_limit_is_exact(
    tmp_path: Path, size: int, status: int, pack: Pack | None, declared: bool
) -> None:
    house = await open_house(tmp_path, max_body_bytes=LIMIT)
    headers = {"content-type": "application/json"}
    content = document_of(size)
    if pack is not None:
        content = pack(content)
        headers["content-encoding"] = "gzip" if pack is gzip.compress else "deflate"

    async def in_pieces() -> object:
        for begin in range(0, len(content), 7):
            yield content[begin : begin + 7]

    async with house.client() as client:
        answer = await client.post(
            "/v1/chat",
            content=content if declared else in_pieces(),
            headers=headers,  # type: ignore[arg-type]
        )
    assert answer.status_code == status, answer.text
    await close_house(house)


async def read(content: bytes, encoding: bytes = b"gzip", *, max_bytes: int = 1 << 20) -> bytes:
    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": content, "more_body": False}

    return await read_body(receive, {b"content-encoding": encoding}, max_bytes=max_bytes)


@pytest.mark.parametrize("encoding", [b"br", b"zstd", b"gzip, gzip", b"compress", b"nonsense"])
async def test_an_unknown_encoding_is_refused_and_the_known_ones_named(house: House, encoding: bytes) -> None:
    with pytest.raises(UnsupportedMediaType):
        await read(b"{}", encoding)
    async with house.client() as client:
        headers = {"content-type": "application/json", "content-encoding": encoding.decode()}
        answer = await client.post("/v1/chat", content=b"{}", headers=headers)
    assert answer.status_code == 415
    assert answer.headers["accept-encoding"] == "gzip, deflate"


@pytest.mark.parametrize(
    "content",
    [
        b"not packed",
        gzip.compress(b"x" * 100)[:-9],
        gzip.compress(b"x") + b"behind",
        b"",
        gzip.compress(b"x")[:3],
    ],
)
async def test_broken_packing_is_the_clients_error(content: bytes) -> None:
    with pytest.raises(InvalidRequest):
        await read(content)


async def test_identity_and_capitals_are_fine() -> None:
    assert await read(b"{}", b"identity") == b"{}"
    assert await read(gzip.compress(b"{}"), b" GZip ") == b"{}"
    assert await read(zlib.compress(b"{}"), b"deflate") == b"{}"


async def test_a_bomb_is_stopped_at_the_limit_and_no_step_of_it_is_large(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Counts bytes, not time: what is unpacked in one step, and in all."""
    steps: list[int] = []
    real = zlib.decompressobj

    class Counting:
        def __init__(self, **options: int) -> None:
            self._real = real(**options)

        def __getattr__(self, name: str) -> object:
            return getattr(self._real, name)

        def decompress(self, data: bytes, limit: int) -> bytes:
            piece: bytes = self._real.decompress(data, limit)
            steps.append(len(piece))
            return piece

    monkeypatch.setattr(body.zlib, "decompressobj", Counting)
    bomb = gzip.compress(bytes(200 << 20), 9)
    with pytest.raises(BodyTooLarge):
        await read(bomb, max_bytes=8 << 20)
    assert max(steps) <= 1 << 20
    assert sum(steps) <= (8 << 20) + 1


async def test_others_are_served_while_a_large_body_is_unpacked() -> None:
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    size = 4 << 20
    assert len(await read(gzip.compress(bytes(size)), max_bytes=8 << 20)) == size
    task.cancel()
    assert turns >= size // (1 << 20)
