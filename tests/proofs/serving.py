"""Proofs of `[serving]`: scripted engines behind a gate, and files as the catalog gives them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from homefire.api import run as run_module
from homefire.app import build
from homefire.catalog.catalog import Catalog
from homefire.config.loader import load_settings
from homefire.engines import process as process_module
from homefire.engines.base import EngineRequest, GgufSource
from homefire.engines.gguf_check import check_gguf
from homefire.engines.process import LlamaCppEngine
from homefire.engines.worker_process import WorkerProcess
from homefire.errors import EngineTimeout, HomefireError, QueueFull
from homefire.home import Home
from homefire.serving.router import Router, RouteRequest
from homefire.serving.serving import Serving
from homefire.store.nouns.models import ModelRegistered
from homefire.store.store import open_store
from homefire.types import Message, Sampling
from homefire.world import World
from tests.api.house import FakeCatalog
from tests.engines.support import spec_for
from tests.proofs.bench import Bench, sees
from tests.serving.models import settle
from tests.support.scripted_engine import ScriptedEngine

# serving


@sees("serving.engine", ("llama.cpp", "built"), ("llama", "There is no 'llama' among engines"))
def the_engine_of_a_server(bench: Bench) -> Any:
    home = Home(bench.root / "home")
    try:
        loaded = load_settings(home, overrides={"serving.engine": bench.settings.serving.engine}, environ={})
        build(loaded, home).store.close()
    except HomefireError as error:
        return str(error).partition(".")[0]
    return "built"


async def files_of_ember(bench: Bench) -> Any:
    home = Home(bench.root / "home")
    with open_store(home, bench.settings.store, World()) as store:
        catalog = Catalog(home, store, bench.settings)
        await catalog.ensure_bundled()
        spec = await catalog.spec(catalog.resolve("live").model)
        assert isinstance(spec.source, GgufSource)
        return spec, check_gguf(Path(spec.source.path))


async def files_of_a_gguf(bench: Bench) -> Any:
    """The same of a model that needs no conversion (and is never loaded)."""
    home = Home(bench.root / "home")
    with open_store(home, bench.settings.store, World()) as store:
        store.append_sync(
            ModelRegistered(
                name="big", format="gguf", path="models/base/big", digest="sha256:" + "0" * 64,
                files={"big.gguf": "sha256:" + "0" * 64}, architecture="qwen3", num_parameters=10,
                size_bytes=10, context_length=32768,
            )
        )  # fmt: skip
        catalog = Catalog(home, store, bench.settings)
        return await catalog.spec(catalog.resolve("big").model)


@sees("serving.num_threads", ("1", 1), ("3", 3))
async def threads_of_an_engine(bench: Bench) -> Any:
    return (await files_of_a_gguf(bench)).num_threads


@sees("serving.context_length", ("512", 512), ("16384", 16384))
async def context_of_an_engine(bench: Bench) -> Any:
    return (await files_of_a_gguf(bench)).context_length


@sees("serving.gguf_dtype", ("f32", [0, "f32"]), ("q8_0", [7, "q8_0"]))
async def number_format(bench: Bench) -> Any:
    """GGUF's general.file_type: 0 all f32, 7 mostly q8_0."""
    spec, header = await files_of_ember(bench)
    return [header.metadata["general.file_type"], Path(spec.source.path).stem.rpartition("-")[2]]


@dataclass
class Kitchen:
    """Serving alone, with engines that wait for a gate."""

    serving: Serving
    router: Router
    gate: asyncio.Event
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def ask(self, model: str = "ember") -> None:
        request = EngineRequest(messages=(Message("user", "Hi"),), sampling=Sampling(max_tokens=9))
        async for _ in self.serving.generate(self.router.route(RouteRequest(model=model)), request):
            pass


@asynccontextmanager
async def kitchen(bench: Bench, *, num_requests: int = 0, load_s: float = 0.0) -> AsyncIterator[Kitchen]:
    gate, load_gate = asyncio.Event(), asyncio.Event()
    asyncio.get_running_loop().call_later(load_s, load_gate.set)
    catalog: Any = FakeCatalog()
    catalog.models["other"] = replace(catalog.models["ember"], name="other", digest="sha256:1")
    serving = Serving(
        catalog,
        bench.settings,
        make_engine=lambda files: ScriptedEngine(files, gate=gate, load_gate=load_gate),
        world=World(),
    )
    cook = Kitchen(serving, Router(catalog), gate)
    cook.tasks = [asyncio.create_task(cook.ask()) for _ in range(num_requests)]
    try:
        yield cook
    finally:
        gate.set()
        await asyncio.gather(*cook.tasks, return_exceptions=True)
        await serving.stop()


@sees("serving.num_parallel", ("2", 2), ("3", 3))
async def slots_of_an_engine(bench: Bench) -> Any:
    return (await files_of_a_gguf(bench)).num_parallel


@sees("serving.max_queue", ("1", QueueFull), ("9", None))
async def one_request_too_many(bench: Bench) -> Any:
    async with kitchen(bench, num_requests=5 + 1) as cook:
        await settle()
        cook.gate.set()
        outcomes = await asyncio.gather(*cook.tasks, return_exceptions=True)
        return next((type(outcome) for outcome in outcomes if outcome is not None), None)


@sees("serving.max_models", ("1", ["other"]), ("2", ["ember", "other"]))
async def two_models_used_in_turn(bench: Bench) -> Any:
    async with kitchen(bench) as cook:
        cook.gate.set()
        await cook.ask("ember")
        await cook.ask("other")
        return sorted(model.name for model in cook.serving.status())


@sees("serving.memory_budget_bytes", ("1500000", ["other"]), ("3000000", ["ember", "other"]))
async def two_models_of_one_mebibyte(bench: Bench) -> Any:
    return await two_models_used_in_turn(bench)


@sees("serving.load_timeout_s", ("0.05", EngineTimeout), ("60", None))
async def a_load_of_300_ms(bench: Bench) -> Any:
    async with kitchen(bench, load_s=0.3) as cook:
        cook.gate.set()
        try:
            await cook.ask()
        except HomefireError as error:
            return type(error)
        return None


@sees("serving.stall_timeout_s", ("0.1", EngineTimeout), ("60", None))
async def a_worker_that_says_nothing(bench: Bench) -> Any:
    server_end, worker_end = run_module.socket.socketpair()

    async def spawn_worker(spec: Any, *, stall_timeout_s: float, clock: Any, **_: Any) -> WorkerProcess:
        silent = await asyncio.create_subprocess_exec(
            "sleep", "60", stdin=worker_end, stderr=asyncio.subprocess.PIPE
        )
        worker_end.close()  # now its end is the process's end, as with a real worker
        streams = await asyncio.open_unix_connection(sock=server_end)
        return WorkerProcess(
            silent, streams, directory=bench.root / "none", name="silent", num_parallel=1,
            stall_timeout_s=stall_timeout_s, clock=clock,
        )  # fmt: skip

    bench.monkeypatch.setattr(process_module, "spawn_worker", spawn_worker)
    bench.monkeypatch.setattr(process_module, "check_memory", lambda spec: None)  # the file is no model
    (bench.root / "file").write_bytes(b"never read by native code")
    engine = LlamaCppEngine(
        spec_for(bench.root / "file"),
        sockets=bench.root,
        settings=bench.settings.serving,
        world=World(),
    )
    counting = asyncio.create_task(engine.count_tokens((Message("user", "Hi"),)))
    try:
        done, _ = await asyncio.wait([counting], timeout=0.6)
        return type(counting.exception()) if done else None
    finally:
        await engine.stop()
        await asyncio.gather(counting, return_exceptions=True)
