"""The engine as the server sees it: what requests get when the worker is hurt, and that it comes back."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from homefire.engines import spawn, worker_process
from homefire.engines.base import Delta, Finish, GgufSource, ModelSpec
from homefire.engines.process import LlamaCppEngine, pause_before
from homefire.engines.worker_process import WorkerProcess
from homefire.errors import (
    BadModel,
    ContextOverflow,
    CorruptData,
    EngineCrashed,
    EngineOutOfMemory,
    EngineTimeout,
    InvalidRequest,
)
from homefire.world import World
from tests.engines.support import LETTERS, QUICK, QuickSettings, asking, collect, endless
from tests.support.clock import HandClock


def pid_of(engine: LlamaCppEngine) -> int:
    pid = engine.status().pid
    assert pid is not None
    return pid


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1][0] != "Z"
    except FileNotFoundError:
        return False


def socket_inodes(pid: int) -> set[str]:
    """Inodes of every socket a process has open."""
    found = set()
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            target = str(path.readlink())
            if target.startswith("socket:["):
                found.add(target.removeprefix("socket:[").removesuffix("]"))
    return found


def network_inodes() -> set[str]:
    """Inodes of every internet socket on this machine."""
    tables = [Path(f"/proc/net/{name}") for name in ("tcp", "tcp6", "udp", "udp6")]
    lines = [line for table in tables if table.exists() for line in table.read_text().splitlines()[1:]]
    return {line.split()[9] for line in lines}


def flip_a_bit(source: Path, target: Path) -> Path:
    data = bytearray(source.read_bytes())
    data[-1000] ^= 1
    target.write_bytes(data)
    return target


def leftovers(sockets: Path) -> list[Path]:
    return list(sockets.glob("engine-*"))


async def test_concurrent_callers_share_one_load(engine: LlamaCppEngine) -> None:
    assert engine.status().state == "stopped"
    await asyncio.gather(*(engine.ensure_ready() for _ in range(8)))
    status = engine.status()
    assert (status.state, status.num_restarts) == ("ready", 0)
    assert status.rss_bytes is not None
    assert status.load_ms is not None


async def test_a_killed_worker_is_a_typed_error_and_a_restart(engine: LlamaCppEngine) -> None:
    stream = engine.generate(endless())
    assert isinstance(await anext(stream), Delta)
    os.kill(pid_of(engine), signal.SIGKILL)
    with pytest.raises(EngineCrashed, match="SIGKILL"):
        async for _ in stream:
            pass
    answer = await collect(engine, asking())
    assert answer.text
    assert engine.status().num_restarts == 1


async def test_a_worker_killed_while_idle_is_replaced_without_an_error(engine: LlamaCppEngine) -> None:
    await engine.ensure_ready()
    current = engine._worker
    assert current is not None
    os.kill(current.process.pid, signal.SIGKILL)
    await current._reading
    assert engine.status().state == "failed"
    assert (await collect(engine, asking())).text


async def test_a_stopped_worker_is_a_timeout_and_a_restart(ember_spec: ModelSpec, tmp_path: Path) -> None:
    settings = QuickSettings(stall_timeout_s=1.0)
    engine = LlamaCppEngine(ember_spec, sockets=tmp_path, settings=settings, world=World())
    try:
        stream = engine.generate(endless())
        await anext(stream)
        stopped_pid = pid_of(engine)
        os.kill(stopped_pid, signal.SIGSTOP)
        with pytest.raises(EngineTimeout):
            async for _ in stream:
                pass
        assert not is_alive(stopped_pid)
        assert (await collect(engine, asking())).text
    finally:
        await engine.stop()


WATCHED = QuickSettings(stall_timeout_s=0.2)


async def a_few_looks() -> None:
    """The watcher looks four times in the stall time, whatever the clock says."""
    await asyncio.sleep(2 * WATCHED.stall_timeout_s)


async def test_rest_is_not_a_stall(ember_spec: ModelSpec, tmp_path: Path) -> None:
    """The clock leaps while nothing is asked; a request after that finds the worker as it was."""
    clock = HandClock()
    engine = LlamaCppEngine(ember_spec, sockets=tmp_path, settings=WATCHED, world=World(clock=clock))
    try:
        await collect(engine, asking())
        await engine.count_tokens([], prompt="hello")
        clock.time_s += 10_000
        await a_few_looks()
        stream = engine.generate(endless())
        await anext(stream)
        await a_few_looks()
        status = engine.status()
        assert (status.state, status.num_restarts, status.num_active) == ("ready", 0, 1)
        await stream.aclose()  # type: ignore[attr-defined]
        assert engine.status().num_active == 0
    finally:
        await engine.stop()


async def test_silence_is_a_stall_whatever_is_asked_meanwhile(ember_spec: ModelSpec, tmp_path: Path) -> None:
    """The worker stops while it answers; counting tokens does not give it new time."""
    clock = HandClock()
    engine = LlamaCppEngine(ember_spec, sockets=tmp_path, settings=WATCHED, world=World(clock=clock))
    try:
        stream = engine.generate(endless())
        await anext(stream)
        os.kill(pid_of(engine), signal.SIGSTOP)
        await a_few_looks()
        clock.time_s += 0.15
        counting = asyncio.ensure_future(engine.count_tokens([], prompt="hello"))
        await a_few_looks()
        clock.time_s += 0.15
        with pytest.raises(EngineTimeout):
            async for _ in stream:
                pass
        with pytest.raises(EngineTimeout):
            await counting
    finally:
        await engine.stop()


SECRETS = {
    "HOMEFIRE_API_KEY": "canary-key",
    "CREDENTIALS_DIRECTORY": "/canary-credentials",
    "HF_TOKEN": "canary-token",
    "AWS_SECRET_ACCESS_KEY": "canary-aws",
    "POSTGRES_PASSWORD": "canary-password",
}


async def test_the_worker_inherits_no_secret(ember_spec: ModelSpec, tmp_path: Path) -> None:
    environ = {**os.environ, **SECRETS, "TOKENIZERS_PARALLELISM": "false", "OMP_WAIT_POLICY": "active"}
    engine = LlamaCppEngine(ember_spec, sockets=tmp_path, settings=QUICK, world=World(), environ=environ)
    try:
        await engine.ensure_ready()
        inherited = Path(f"/proc/{pid_of(engine)}/environ").read_bytes()
        assert b"canary" not in inherited
        assert b"OMP_WAIT_POLICY" not in inherited
        assert b"OMP_NUM_THREADS=1" in inherited
        assert b"TOKENIZERS_PARALLELISM=false" in inherited, "what is not a secret stays"
    finally:
        await engine.stop()


async def test_no_other_process_can_speak_to_the_worker(engine: LlamaCppEngine, tmp_path: Path) -> None:
    """Its connection has no name. What listens is llama.cpp's own, in a directory only this user enters."""
    await engine.ensure_ready()
    own = socket_inodes(pid_of(engine))
    table = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:]]
    listening = [row for row in table if row[6] in own and row[3] == "00010000"]
    assert [Path(row[7]).name for row in listening] == ["http.sock"]
    (directory,) = leftovers(tmp_path)
    assert [path.name for path in directory.iterdir()] == ["http.sock"]
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert stat.S_IMODE((directory / "http.sock").stat().st_mode) == 0o600


async def test_closing_the_stream_frees_the_slot_at_once(ember_spec: ModelSpec, tmp_path: Path) -> None:
    one_slot = msgspec.structs.replace(ember_spec, num_parallel=1)
    engine = LlamaCppEngine(one_slot, sockets=tmp_path, settings=QUICK, world=World())
    try:
        whole = await collect(engine, endless())
        for _ in range(5):
            stream = engine.generate(endless())
            await anext(stream)
            await stream.aclose()  # type: ignore[attr-defined]
        assert engine.status().num_active == 0
        answer = await collect(engine, asking(max_tokens=1))
        # With one slot this answer had to wait for the five: far less than their full length was computed.
        assert answer.finish.timings.first_token_ms < whole.finish.timings.decode_ms * 2.5
    finally:
        await engine.stop()


async def test_stop_ends_running_requests_with_a_typed_error(engine: LlamaCppEngine, tmp_path: Path) -> None:
    stream = engine.generate(endless())
    await anext(stream)
    pid = pid_of(engine)
    await engine.stop()
    with pytest.raises(EngineCrashed, match="stopped"):
        async for _ in stream:
            pass
    assert not is_alive(pid)
    assert engine.status().state == "stopped"
    assert leftovers(tmp_path) == []


async def test_a_flipped_byte_is_noticed_before_loading(
    ember_spec: ModelSpec, ember_gguf: Path, tmp_path: Path
) -> None:
    damaged = flip_a_bit(ember_gguf, tmp_path / "damaged.gguf")
    assert isinstance(ember_spec.source, GgufSource)
    source = GgufSource(str(damaged), ember_spec.source.sha256)
    spec = msgspec.structs.replace(ember_spec, source=source)
    engine = LlamaCppEngine(spec, sockets=tmp_path, settings=QUICK, world=World())
    with pytest.raises(CorruptData):
        await engine.ensure_ready()
    assert engine.status().state == "failed"
    await engine.stop()


async def test_a_file_that_is_no_model_does_not_reach_native_code(
    ember_spec: ModelSpec, tmp_path: Path
) -> None:
    nonsense = tmp_path / "nonsense.gguf"
    nonsense.write_bytes(b"GGUF" + bytes(100))
    source = GgufSource(str(nonsense), hashlib.sha256(nonsense.read_bytes()).hexdigest())
    spec = msgspec.structs.replace(ember_spec, source=source)
    engine = LlamaCppEngine(spec, sockets=tmp_path, settings=QUICK, world=World())
    with pytest.raises(BadModel):
        await engine.ensure_ready()
    await engine.stop()


async def test_sockets_are_private_and_their_path_may_be_long(ember_spec: ModelSpec, tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 90) / ("e" * 90)
    engine = LlamaCppEngine(ember_spec, sockets=deep, settings=QUICK, world=World())
    try:
        assert (await collect(engine, asking())).text
        assert await engine.count_tokens([], prompt="hello") > 0
        (directory,) = deep.glob("engine-*")
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        sockets = list(directory.iterdir())
        assert sockets
        assert {stat.S_IMODE(path.stat().st_mode) for path in sockets} == {0o600}
    finally:
        await engine.stop()


async def test_the_worker_listens_on_no_network_port(engine: LlamaCppEngine) -> None:
    await engine.ensure_ready()
    own = socket_inodes(pid_of(engine))
    assert own
    assert not own & network_inodes()


async def test_a_crash_loop_is_slowed_down_until_an_answer_is_finished(engine: LlamaCppEngine) -> None:
    for _ in range(2):
        await engine.ensure_ready()
        current = engine._worker
        assert current is not None
        current.kill()
        await current._reading
    await engine.ensure_ready()
    assert engine._num_crashes == 2
    await collect(engine, asking())
    assert engine._num_crashes == 0


def test_pauses_grow_and_are_bounded() -> None:
    pauses = [pause_before(num_crashes=count) for count in range(12)]
    assert pauses[:4] == [0.0, 0.0, 0.1, 0.2]
    assert pauses == sorted(pauses)
    assert pauses[-1] == 5.0


def test_the_worker_ends_with_its_server(ember_gguf: Path, tmp_path: Path) -> None:
    script = f"""
import asyncio, sys
from pathlib import Path
from homefire.engines.process import LlamaCppEngine
from homefire.world import World
from tests.engines.support import QUICK, spec_for
async def main():
    spec, sockets = spec_for(Path({str(ember_gguf)!r})), Path({str(tmp_path)!r})
    engine = LlamaCppEngine(spec, sockets=sockets, settings=QUICK, world=World())
    await engine.ensure_ready()
    print(engine.status().pid, flush=True)
    await asyncio.sleep(600)
asyncio.run(main())
"""
    server = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert server.stdout is not None
    with server.stdout:
        worker_pid = int(server.stdout.readline())
        server.kill()
        server.wait()
    deadline_s = time.monotonic() + 10
    while is_alive(worker_pid) and time.monotonic() < deadline_s:
        os.sched_yield()
    assert not is_alive(worker_pid)
    spawn.remove_stale(tmp_path)
    assert leftovers(tmp_path) == []


def test_the_server_side_imports_nothing_heavy() -> None:
    script = (
        "import sys, homefire.engines.process, homefire.catalog.catalog; "
        "heavy = ('xllamacpp', 'numpy', 'gguf', 'torch', 'safetensors', 'tokenizers'); "
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


async def test_an_over_long_prompt_is_refused_with_exact_numbers(engine: LlamaCppEngine) -> None:
    request = asking("a b c " * 1000, max_tokens=7)
    num_tokens = await engine.count_tokens(request.messages)
    with pytest.raises(ContextOverflow) as caught:
        await collect(engine, request)
    assert caught.value.details == {"prompt_tokens": num_tokens, "limit": 1024, "max_tokens": 7}


@pytest.mark.parametrize("context_length", [1024, 1000])
async def test_a_prompt_that_leaves_one_token_is_answered_with_one(
    context_length: int, ember_spec: ModelSpec, tmp_path: Path
) -> None:
    spec = msgspec.structs.replace(ember_spec, context_length=context_length)
    engine = LlamaCppEngine(spec, sockets=tmp_path, settings=QUICK, world=World())
    try:
        text = "a" + " b" * (context_length - 2)
        assert await engine.count_tokens([], prompt=text) == context_length - 1
        request = msgspec.structs.replace(asking(max_tokens=50, grammar=LETTERS), messages=(), prompt=text)
        answer = await collect(engine, request)
        assert answer.finish.usage.prompt_tokens == context_length - 1
        assert (answer.finish.usage.completion_tokens, answer.finish.stop_reason) == (1, "context")
        longer = msgspec.structs.replace(request, prompt=text + " b")
        with pytest.raises(ContextOverflow) as caught:
            await collect(engine, longer)
        figures = {"prompt_tokens": context_length, "limit": context_length, "max_tokens": 50}
        assert caught.value.details == figures
    finally:
        await engine.stop()


@pytest.mark.parametrize(
    "sampling",
    [
        {"max_tokens": 0},
        {"grammar": "root ::= (", "max_tokens": 4},
        {"grammar": "root ::= " + " | ".join(f'"{number}"' for number in range(20_000))},
        {"grammar": "%llguidance {}\nstart: bad bad (", "max_tokens": 4},
        {"json_schema": {"type": "wrong"}},
        {"json_schema": {"type": "array", "uniqueItems": True}},
        {"json_schema": {}, "grammar": "root ::= [a-z]"},
    ],
)
async def test_what_cannot_be_honoured_is_refused(
    engine: LlamaCppEngine, sampling: dict[str, object]
) -> None:
    with pytest.raises(InvalidRequest):
        await collect(engine, asking(**sampling))
    assert isinstance((await collect(engine, asking(max_tokens=2))).finish, Finish)


async def test_a_kill_by_the_kernel_for_memory_is_told_from_others(
    engine: LlamaCppEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = engine.generate(endless())
    await anext(stream)
    before = worker_process.num_oom_kills()
    monkeypatch.setattr(worker_process, "num_oom_kills", lambda: before + 1)
    os.kill(pid_of(engine), signal.SIGKILL)
    with pytest.raises(EngineOutOfMemory):
        async for _ in stream:
            pass
    assert (await collect(engine, asking())).text


async def test_memory_that_is_not_there_is_said_with_figures(ember_spec: ModelSpec, tmp_path: Path) -> None:
    huge = msgspec.structs.replace(ember_spec, context_length=1 << 30, num_parallel=64)
    engine = LlamaCppEngine(huge, sockets=tmp_path, settings=QUICK, world=World())
    with pytest.raises(EngineOutOfMemory) as caught:
        await engine.ensure_ready()
    assert caught.value.details["needed_bytes"] > caught.value.details["available_bytes"]
    await engine.stop()


@pytest.mark.parametrize(
    ("stderr", "error"),
    [
        (b"terminate: std::bad_alloc", EngineOutOfMemory),
        (b"ggml: Failed to allocate buffer", EngineOutOfMemory),
        (b"numpy MemoryError", EngineOutOfMemory),
        (b"assertion failed", EngineCrashed),
    ],
)
async def test_a_worker_that_says_it_ran_out_of_memory_did(stderr: bytes, error: type[Exception]) -> None:
    said = SimpleNamespace(_tail=bytearray(stderr), name="ember", _num_oom_kills=0)
    assert type(WorkerProcess._exit_error(said, 1)) is error  # type: ignore[arg-type]
