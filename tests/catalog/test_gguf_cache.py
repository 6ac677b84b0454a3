"""Conversions in child processes: whole or absent, and their errors arrive as what they are."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from homefire.catalog.convert import convert
from homefire.catalog.gguf_cache import GgufCache
from homefire.errors import BadModel, EngineError
from homefire.machine.hashing import FileVerifier
from homefire.world import Files
from tests.engines.support import ember_folder


class BrokenFiles(Files):
    """The disk fails when a file is to be flushed."""

    def fsync_file(self, path: Path) -> None:
        raise OSError(5, "Input/output error", str(path))


async def test_an_error_of_the_converter_keeps_its_kind_and_words(ember_copy: Path, tmp_path: Path) -> None:
    (ember_copy / "tokenizer.json").unlink()
    cache = GgufCache(tmp_path / "gguf", FileVerifier())
    with pytest.raises(BadModel, match=r"tokenizer\.json"):
        await cache.whole_model(ember_copy, digest="sha256:00", dtype="f16", nice=0)
    assert list((tmp_path / "gguf").glob("*.gguf*")) == []


async def test_a_converter_that_dies_is_a_typed_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(EngineError, match="status 1"):
        await GgufCache(tmp_path, FileVerifier()).whole_model(
            ember_folder(), digest="sha256:00", dtype="f16", nice=0
        )


async def test_stopping_ends_a_conversion_and_leaves_no_target(tmp_path: Path) -> None:
    cache = GgufCache(tmp_path, FileVerifier())
    waiting = asyncio.ensure_future(
        cache.whole_model(ember_folder(), digest="sha256:00", dtype="f16", nice=0)
    )
    for _ in range(10_000):
        if cache._making:
            break
        await asyncio.sleep(0.001)
    await cache.stop()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert list(tmp_path.glob("*.gguf")) == []


def test_a_target_that_could_not_be_flushed_never_gets_its_name(tmp_path: Path) -> None:
    target = tmp_path / "ember.gguf"
    with pytest.raises(OSError, match="Input/output"):
        convert(ember_folder(), target, dtype="f16", files=BrokenFiles())
    assert not target.exists()


def test_equal_input_gives_equal_bytes(tmp_path: Path) -> None:
    hashes = {convert(ember_folder(), tmp_path / f"{index}.gguf", dtype="q8_0") for index in range(2)}
    assert len(hashes) == 1
    assert (tmp_path / "0.gguf.sha256").read_text().strip() in hashes
