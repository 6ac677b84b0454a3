"""What a model is said to take, beside what it takes."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path

import gguf
import msgspec
import numpy as np
import pytest

from homefire.catalog.convert import convert
from homefire.engines.base import Adapter, GgufSource
from homefire.engines.memory_estimate import (
    CELL_BYTES,
    MAX_LAYERS,
    PROCESS_BYTES,
    PROMPT_BATCH_TOKENS,
    estimate_bytes,
    read_shape,
)
from homefire.engines.process import LlamaCppEngine
from homefire.errors import BadModel
from homefire.world import World
from tests.engines.support import QUICK, asking, collect, ember_folder, spec_for

TOLERANCE = 0.1


@pytest.mark.parametrize(
    ("dtype", "context_length", "num_parallel"),
    [("f16", 1024, 1), ("f16", 8192, 4), ("f16", 65536, 8), ("f32", 32768, 8)],
)
async def test_the_estimate_is_what_the_process_takes(
    dtype: str, context_length: int, num_parallel: int, tmp_path: Path
) -> None:
    path = tmp_path / "ember.gguf"
    convert(ember_folder(), path, dtype=dtype)
    spec = spec_for(path, context_length=context_length, num_parallel=num_parallel)
    engine = LlamaCppEngine(spec, sockets=tmp_path, settings=QUICK, world=World())
    try:
        estimated = await engine.estimate()
        question = asking("hello " * 200, max_tokens=20)
        await asyncio.gather(*(collect(engine, question) for _ in range(num_parallel)))
        taken = engine.status().rss_bytes
        assert taken is not None
        assert abs(estimated - taken) < TOLERANCE * taken, f"{estimated >> 20} and {taken >> 20} MiB"
    finally:
        await engine.stop()


def header_of(path: Path, architecture: str, **figures: int | list[int] | list[bool]) -> Path:
    """A file with these figures, and one tensor of 4 KiB."""
    writer = gguf.GGUFWriter(path, architecture)
    for key, value in {"block_count": 6, "embedding_length": 64, **figures}.items():
        name = f"{architecture}.{key.replace('__', '.')}"
        writer.add_array(name, value) if isinstance(value, list) else writer.add_uint32(name, value)
    writer.add_tensor("t", np.zeros((32, 32), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_grouped_heads_of_a_stated_size(tmp_path: Path) -> None:
    shape = read_shape(
        header_of(
            tmp_path / "m", "qwen3", attention__head_count=8, attention__head_count_kv=2,
            attention__key_length=32, attention__value_length=16,
        )
    )  # fmt: skip
    assert shape.kv_row_sizes == (2 * (32 + 16),) * 6
    assert shape.weight_bytes == 4096


def test_heads_of_no_stated_size_share_the_embedding(tmp_path: Path) -> None:
    grouped = read_shape(
        header_of(tmp_path / "m", "llama", attention__head_count=6, attention__head_count_kv=2)
    )
    assert grouped.kv_row_sizes == (2 * (10 + 10),) * 6  # 64 // 6 numbers a head
    assert read_shape(header_of(tmp_path / "n", "llama")).kv_row_sizes == (64 + 64,) * 6


def test_a_header_may_promise_so_many_layers_and_not_one_more(tmp_path: Path) -> None:
    assert len(read_shape(header_of(tmp_path / "m", "llama", block_count=MAX_LAYERS)).windows) == MAX_LAYERS
    with pytest.raises(BadModel, match="layers"):
        read_shape(header_of(tmp_path / "n", "llama", block_count=MAX_LAYERS + 1))


def test_each_part_of_the_estimate_counts_to_the_byte(tmp_path: Path) -> None:
    path = header_of(
        tmp_path / "m", "llama", block_count=2, attention__head_count=4, feed_forward_length=100,

    )  # fmt: skip
    adapter = tmp_path / "adapter"
    adapter.write_bytes(bytes(777))
    alone = estimate_bytes(spec_for(path, context_length=1024, num_parallel=1))
    cache = 2 * (64 + 64) * 2 * 1024 + 1024 * CELL_BYTES
    batch = 4 * PROMPT_BATCH_TOKENS * (6 * 64 + 3 * 100)
    assert alone == 4096 + cache + batch + PROCESS_BYTES
    assert estimate_bytes(spec_for(path, context_length=1024, num_parallel=3)) == alone + 2 * cache
    assert estimate_bytes(spec_for(path, context_length=1000, num_parallel=1)) == alone
    taught = spec_for(path, context_length=1024, num_parallel=1)
    assert isinstance(taught.source, GgufSource)
    source = msgspec.structs.replace(taught.source, adapters=(Adapter(str(adapter), "0"),))
    assert estimate_bytes(msgspec.structs.replace(taught, source=source)) == alone + 777


def test_the_logits_of_each_slot_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = header_of(tmp_path / "m", "llama")
    without = [estimate_bytes(spec_for(path, num_parallel=n)) for n in (1, 3)]
    shape = dataclasses.replace(read_shape(path), num_tokens=1000)
    monkeypatch.setattr("homefire.engines.memory_estimate.read_shape", lambda _: shape)
    assert [estimate_bytes(spec_for(path, num_parallel=n)) for n in (1, 3)] == [
        without[0] + 4 * 1000, without[1] + 4 * 1000 * 3,
    ]  # fmt: skip


def test_heads_that_differ_by_layer(tmp_path: Path) -> None:
    heads = [4, 0, 4, 0, 2, 2]
    shape = read_shape(
        header_of(tmp_path / "m", "lfm2", attention__head_count=8, attention__head_count_kv=heads)
    )
    assert shape.kv_row_sizes == tuple(count * 16 for count in heads)


@pytest.mark.parametrize(
    ("architecture", "more", "windows"),
    [
        ("gemma3", {}, (512, 512, 512, 512, 512, 0)),
        ("gpt-oss", {}, (512, 0, 512, 0, 512, 0)),
        ("new", {"attention__sliding_window_pattern": [True, False] * 3}, (512, 0, 512, 0, 512, 0)),
        ("new", {"attention__sliding_window_pattern": 3}, (512, 512, 0, 512, 512, 0)),
        ("unknown", {}, (0,) * 6),
    ],
)
def test_layers_with_a_window_keep_only_that(
    architecture: str, more: dict[str, int | list[bool]], windows: tuple[int, ...], tmp_path: Path
) -> None:
    path = header_of(
        tmp_path / "m", architecture, attention__head_count=4, attention__sliding_window=512, **more
    )
    assert read_shape(path).windows == windows
    full = header_of(tmp_path / "full", "llama", attention__head_count=4)
    estimates = [estimate_bytes(spec_for(it, context_length=65536)) for it in (path, full)]
    assert (estimates[0] < estimates[1]) == any(windows)


def test_a_changed_file_is_read_anew(tmp_path: Path) -> None:
    path = header_of(tmp_path / "m", "llama", block_count=2)
    assert len(read_shape(path).windows) == 2
    path.unlink()
    header_of(path, "llama", block_count=5)
    assert len(read_shape(path).windows) == 5
