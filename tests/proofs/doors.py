"""Proofs of `[server]` and `[chat]`: requests to a whole house, and what would have listened."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from homefire.api import run as run_module
from homefire.engines.base import EngineRequest
from tests.api.house import close_house, open_house
from tests.proofs.bench import Bench, sees

# server


@asynccontextmanager
async def client_of(bench: Bench, **options: Any) -> AsyncIterator[httpx.AsyncClient]:
    house = await open_house(bench.root, settings=bench.settings, **options)
    try:
        async with house.client() as client:
            yield client
    finally:
        await close_house(house)


async def status_of(bench: Bench, *, headers: dict[str, str] | None = None, text: str = "Hi") -> int:
    async with client_of(bench) as client:
        answer = await client.post("/v1/chat", json={"message": text}, headers=headers)
        return answer.status_code


async def started_server(bench: Bench) -> run_module.Server:
    """What `serve` would have run, with the sockets it would have listened on."""
    started: list[Any] = []

    class NeverServes(run_module.Server):
        async def serve(self, sockets: Any = None) -> None:
            self.listening_at = sockets[0].getsockname()
            sockets[0].close()
            started.append(self)

    bench.monkeypatch.setattr(run_module, "Server", NeverServes)
    house = await open_house(bench.root, settings=bench.settings)
    try:
        await run_module.serve(house.app, run_module.open_listener(house.app))
    finally:
        await close_house(house)
    server: run_module.Server = started[0]
    return server


@sees("server.host", ("127.0.0.1", "127.0.0.1"), ("127.0.0.2", "127.0.0.2"))
async def listening_address(bench: Bench) -> Any:
    # Port 0 besides: the proof must not depend on a port being free.
    server = bench.settings.server.model_copy(update={"port": 0})
    bench.settings = bench.settings.model_copy(update={"server": server})
    return (await started_server(bench)).listening_at[0]  # type: ignore[attr-defined]


@sees("server.port", ("28765", 28765), ("28766", 28766))
async def listening_port(bench: Bench) -> Any:
    bound: list[int] = []

    def bind(host: str, port: int) -> Any:
        bound.append(port)
        return run_module.socket.create_server((host, 0))

    bench.monkeypatch.setattr(run_module, "bind", bind)
    await started_server(bench)
    return bound[0]


@sees("server.drain_timeout_s", ("3", 3), ("7.5", 8))
async def time_to_drain(bench: Bench) -> Any:
    bench.monkeypatch.setattr(
        run_module, "bind", lambda host, port: run_module.socket.create_server((host, 0))
    )
    return (await started_server(bench)).config.timeout_graceful_shutdown


@sees("server.max_body_bytes", ("200", 413), ("1000", 200))
async def a_body_of_300_bytes(bench: Bench) -> Any:
    return await status_of(bench, text="Hi " + " " * 300)


@sees("server.allowed_hosts", ('["home.example"]', 200), ("[]", 403))
async def another_host_name(bench: Bench) -> Any:
    async with client_of(bench) as client:
        return (await client.get("/health", headers={"host": "home.example"})).status_code


@sees("server.allowed_origins", ('["https://chat.example"]', 200), ("[]", 403))
async def another_origin(bench: Bench) -> Any:
    return await status_of(bench, headers={"origin": "https://chat.example"})


@sees("server.loopback_without_key", ("true", 200), ("false", 401))
async def no_key(bench: Bench) -> Any:
    return await status_of(bench)


@sees("server.request_timeout_s", ("0.05", 504), ("60", 200))
async def a_slow_answer(bench: Bench) -> Any:
    gate = asyncio.Event()
    async with client_of(bench, gate=gate) as client:
        asyncio.get_running_loop().call_later(0.3, gate.set)
        return (await client.post("/v1/chat", json={"message": "Hi"})).status_code


# chat


async def chat(bench: Bench, message: str = "Hi", **options: Any) -> tuple[httpx.Response, EngineRequest]:
    """The answer to a message, and what the engine was asked."""
    requests: list[EngineRequest] = []

    def answer(request: EngineRequest) -> str:
        requests.append(request)
        return "Hello."

    async with client_of(bench, answer=answer, **options) as client:
        response = await client.post("/v1/chat", json={"message": message})
    return response, requests[0] if requests else EngineRequest(messages=())


@sees("chat.default_model", ("ember", "ember"), ("default", "default"))
async def the_model_nobody_named(bench: Bench) -> Any:
    response, _ = await chat(bench)
    return response.json()["model"]


@sees("chat.overflow", ("trim", [200, 2]), ("refuse", [400, None]))
async def a_conversation_that_does_not_fit(bench: Bench) -> Any:
    messages = [
        {"role": "user", "content": "word " * 45},
        {"role": "assistant", "content": "Yes."},
        {"role": "user", "content": "And " * 15},
    ]
    async with client_of(bench) as client:
        response = await client.post("/v1/chat", json={"messages": messages})
    return [response.status_code, response.json().get("num_trimmed_messages")]


@sees("chat.max_tokens", ("7", 7), ("9", 9))
async def room_for_the_answer(bench: Bench) -> Any:
    return (await chat(bench))[1].sampling.max_tokens


@sees("chat.temperature", ("0.25", 0.25), ("1.5", 1.5))
async def the_temperature_nobody_named(bench: Bench) -> Any:
    return (await chat(bench))[1].sampling.temperature


@sees("chat.system_prompt", ("Be brief.", ["Be brief.", "Hi"]), ("Be kind.", ["Be kind.", "Hi"]))
async def what_the_model_sees(bench: Bench) -> Any:
    return [message.content for message in (await chat(bench))[1].messages]
