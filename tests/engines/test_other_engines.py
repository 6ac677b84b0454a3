"""Engines that know nothing of GGUF are plugins like any other: by address, and from a folder.

Both are served end to end by a whole Homefire; only the plugin says that they exist.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import httpx
import pytest

from homefire.api.server import create_app
from homefire.app import BUILT_IN, Homefire, build
from homefire.catalog.models import RemoteModel
from homefire.config.loader import load_settings
from homefire.config.secrets import load_api_key
from homefire.engines.base import (
    Capability,
    Delta,
    Embeddings,
    EngineRequest,
    EngineStatus,
    Finish,
    FolderSource,
    Generated,
    ModelSpec,
    NoSleep,
    SourceKind,
    UrlSource,
)
from homefire.errors import ConfigError, EngineError
from homefire.home import Home
from homefire.plugins import Plugins, load_plugins
from homefire.types import Message, Timings, Usage


class _Minimal(NoSleep):
    """What both engines have in common: nothing to load, and no gift but streaming."""

    capabilities: frozenset[Capability] = frozenset({"stream", "cancel", "count"})

    def __init__(self, spec: ModelSpec, **_context: Any) -> None:
        self.spec = spec
        self.num_active = 0

    @property
    def context_length(self) -> int:
        return self.spec.context_length

    async def estimate(self) -> int:
        return 0

    async def ensure_ready(self) -> None:
        pass

    async def embed(self, texts: Sequence[str]) -> Embeddings:
        raise EngineError(f"{self.spec.name} gives no embeddings.")

    async def count_tokens(self, messages: Sequence[Message], *, prompt: str | None = None) -> int:
        return sum(len(message.content.split()) for message in messages) + len((prompt or "").split())

    def status(self) -> EngineStatus:
        return EngineStatus(state="ready", num_active=self.num_active)

    async def stop(self) -> None:
        pass


class UrlEngine(_Minimal):
    """An OpenAI-compatible server somewhere else."""

    source_kind: ClassVar[SourceKind] = "url"

    async def generate(self, request: EngineRequest) -> AsyncIterator[Generated]:
        assert isinstance(self.spec.source, UrlSource)
        body = {
            "model": self.spec.source.model,
            "stream": True,
            "messages": [{"role": message.role, "content": message.content} for message in request.messages],
        }
        num_tokens = 0
        url = f"{self.spec.source.url}/v1/chat/completions"
        async with httpx.AsyncClient() as client, client.stream("POST", url, json=body) as answer:
            async for line in answer.aiter_lines():
                if line.startswith("data: {"):
                    num_tokens += 1
                    yield Delta(json.loads(line[6:])["choices"][0]["delta"]["content"])
        usage = Usage(prompt_tokens=await self.count_tokens(request.messages), completion_tokens=num_tokens)
        yield Finish(stop_reason="stop", usage=usage, timings=Timings())


class FolderEngine(_Minimal):
    """Reads a folder as a torch worker would; all it can say is what it read."""

    source_kind: ClassVar[SourceKind] = "folder"

    async def generate(self, request: EngineRequest) -> AsyncIterator[Generated]:
        assert isinstance(self.spec.source, FolderSource)
        config = json.loads((Path(self.spec.source.path) / "config.json").read_text())
        yield Delta(f"{config['model_type']} of {len(self.spec.source.files)} files")
        usage = Usage(prompt_tokens=await self.count_tokens(request.messages), completion_tokens=1)
        yield Finish(stop_reason="stop", usage=usage, timings=Timings())


class Upstream:
    """A server that repeats the last message, two words at a time."""

    def __init__(self) -> None:
        self.models: list[str] = []

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-le")
        )
        asked = json.loads(await reader.readexactly(length))
        self.models.append(asked["model"])
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
        for word in asked["messages"][-1]["content"].split():
            chunk = {"choices": [{"delta": {"content": f"{word} "}}]}
            writer.write(f"data: {json.dumps(chunk)}\n\n".encode())
        writer.write(b"data: [DONE]\n\n")
        await writer.drain()
        writer.close()


@asynccontextmanager
async def upstream() -> AsyncIterator[tuple[str, Upstream]]:
    served = Upstream()
    server = await asyncio.start_server(served.answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", served


def plugins(*, models: Mapping[str, Callable[[], RemoteModel]] | None = None) -> Plugins:
    brought = SimpleNamespace(
        homefire_engines=lambda: {"elsewhere": UrlEngine, "folders": FolderEngine},
        homefire_models=lambda: dict(models or {}),
    )
    return load_plugins(builtins={**BUILT_IN, "test": brought}, installed=[])


@asynccontextmanager
async def running(home: Home, brought: Plugins, **settings: str) -> AsyncIterator[Homefire]:
    loaded = load_settings(home, overrides={"training.auto": "false", **settings}, environ={})
    homefire = build(loaded, home, plugins=brought)
    async with homefire.running():
        yield homefire


async def chat(homefire: Homefire, model: str, text: str) -> httpx.Response:
    key = load_api_key(homefire.home, environ={})
    assert key is not None
    transport = httpx.ASGITransport(create_app(homefire))
    headers = {"Authorization": f"Bearer {key.reveal()}"}
    async with httpx.AsyncClient(
        transport=transport, base_url="http://127.0.0.1:8765", headers=headers
    ) as client:
        body = {"model": model, "messages": [{"role": "user", "content": text}]}
        return await client.post("/v1/chat/completions", json=body)


async def test_a_model_on_another_server_is_served_like_any_other(tmp_path: Path) -> None:
    async with upstream() as (url, served):
        remote = RemoteModel(engine="elsewhere", url=url, model="echo-7b", context_length=512, num_parallel=2)
        async with running(Home(tmp_path), plugins(models={"echo": lambda: remote})) as homefire:
            answer = await chat(homefire, "echo", "one two three")
            assert answer.json()["choices"][0]["message"]["content"].split() == ["one", "two", "three"]
            assert answer.json()["usage"]["prompt_tokens"] == 3
            assert served.models == ["echo-7b"]
            described = homefire.catalog.resolve("echo").model
            assert (described.kind, described.engine, described.num_parallel) == ("remote", "elsewhere", 2)
            assert "echo" in [model.name for model in homefire.catalog.list()]
            loaded = next(model for model in homefire.serving.status() if model.name == "echo")
            assert loaded.context_length == 512


async def test_a_folder_is_served_without_being_converted(tmp_path: Path) -> None:
    home = Home(tmp_path)
    async with running(home, plugins(), **{"serving.engine": "folders"}) as homefire:
        answer = await chat(homefire, "ember", "What are you?")
        row = homefire.store.models.get("ember")
        assert row is not None
        assert answer.json()["choices"][0]["message"]["content"] == f"qwen3 of {len(row.files)} files"
        assert homefire.catalog.resolve("ember").model.engine == "folders"
    assert list(home.cache.glob("gguf/*")) == [], "nothing was converted"


async def test_what_the_chosen_engine_cannot_read_keeps_one_that_can(
    tmp_path: Path, ember_gguf: Path
) -> None:
    async with running(Home(tmp_path), plugins(), **{"serving.engine": "folders"}) as homefire:
        added = await homefire.catalog.add(ember_gguf, name="file")
        assert (added.engine, homefire.catalog.resolve("ember").model.engine) == ("llama.cpp", "folders")


def test_a_remote_model_whose_engine_nobody_brings_is_refused_at_the_start(tmp_path: Path) -> None:
    remote = RemoteModel(engine="nobody", url="http://nowhere", model="x", context_length=512)
    home = Home(tmp_path)
    with pytest.raises(ConfigError, match="nobody"):
        build(load_settings(home, environ={}), home, plugins=plugins(models={"x": lambda: remote}))


def test_an_engine_that_does_not_say_what_it_reads_is_refused_at_the_start(tmp_path: Path) -> None:
    mute = SimpleNamespace(homefire_engines=lambda: {"mute": dict})
    brought = load_plugins(builtins={**BUILT_IN, "test": mute}, installed=[])
    home = Home(tmp_path)
    with pytest.raises(ConfigError, match="does not say what it reads") as caught:
        build(load_settings(home, environ={}), home, plugins=brought)
    assert caught.value.details["engine"] == "mute"
