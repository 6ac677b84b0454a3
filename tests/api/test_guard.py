"""The one path of every request: what surrounds each endpoint, however the exchange ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from homefire.api.exchange import Exchange
from homefire.errors import EngineCrashed, QueueFull
from tests.api.asking import Asker, until
from tests.api.dialects import DIALECTS
from tests.api.house import REMOTE, House, close_house, open_house

CHAT = {"model": "default", "messages": [{"role": "user", "content": "hi"}]}
COUNT = {"model": "default", "messages": [{"role": "user", "content": "hi"}]}
LOAD = {"model": "default", "messages": []}

# Whoever waits can leave, and no wait outlasts the deadline


async def waits_for_a_load(house: House) -> Asker:
    """A load through Ollama's route."""
    return Asker("/api/chat", LOAD)


async def waits_for_a_count(house: House) -> Asker:
    """A count that needs the model."""
    return Asker("/v1/messages/count_tokens", COUNT)


async def waits_for_a_model(house: House) -> Asker:
    """An answer that needs the model."""
    return Asker("/v1/chat/completions", CHAT)


async def waits_for_a_vector(house: House) -> Asker:
    """An embedding, through the framework."""
    return Asker("/v1/embeddings", {"model": "default", "input": "hi"})


WAITS = [waits_for_a_load, waits_for_a_count, waits_for_a_model, waits_for_a_vector]


@pytest.mark.parametrize("wait", WAITS)
async def test_a_client_that_leaves_while_it_waits_is_noticed(tmp_path: Path, wait: Any) -> None:
    house = await open_house(tmp_path, load_gate=asyncio.Event())
    client = await wait(house)
    answering = client.ask(house)
    await until(lambda: house.engines)
    client.leave.set()
    await until(answering.done)
    assert client.sent == []
    assert ',status="499"} 1.0' in house.app.state.context.metrics.text().decode()
    await close_house(house)


@pytest.mark.parametrize("wait", WAITS)
async def test_a_wait_without_an_end_is_a_timeout(tmp_path: Path, wait: Any) -> None:
    house = await open_house(tmp_path, load_gate=asyncio.Event(), request_timeout_s=0.05)
    client = await wait(house)
    await client.ask(house)
    assert client.status == 504
    assert "0.05 s" in client.text
    await close_house(house)


@pytest.mark.parametrize("leaves", [True, False])
async def test_who_waits_for_a_session_can_leave_and_is_not_held_for_ever(
    tmp_path: Path, leaves: bool
) -> None:
    gate = asyncio.Event()
    gate.set()
    house = await open_house(tmp_path, gate=gate, request_timeout_s=5 if leaves else 0.2)
    first = Asker("/v1/chat", {"message": "one"})
    await first.ask(house)
    (session,) = house.store.sessions.list("local")
    gate.clear()
    said = {"message": "two", "session_id": session.session_id}
    holder, waiter = Asker("/v1/chat", said), Asker("/v1/chat", said)
    holding, waiting = holder.ask(house), waiter.ask(house)
    await until(lambda: house.engines[0].num_active)
    if leaves:
        waiter.leave.set()
        await until(waiting.done)
        assert waiter.sent == []
        gate.set()
        await holding
        assert holder.status == 200
    else:
        await asyncio.wait([holding, waiting])
        assert (holder.status, waiter.status) == (504, 504)
    assert house.engines[0].num_active == 0
    await close_house(house)


async def ends(folder: Path, *, deadline_lifted: bool) -> bool:
    """Whether an endpoint that waits for ever, in no queue of anybody, ends."""
    house = await open_house(folder, request_timeout_s=0.05)

    async def endpoint(exchange: Exchange) -> None:
        if deadline_lifted:
            exchange.lift_deadline()
        await asyncio.Event().wait()

    house.app.add_endpoint("/v1/chat", endpoint)
    client = Asker("/v1/chat", {})
    answering = client.ask(house)
    await asyncio.wait([answering], timeout=0.5)
    found = answering.done()
    client.leave.set()
    await answering
    await close_house(house)
    return found


async def test_the_deadline_is_around_whatever_an_endpoint_does(tmp_path: Path) -> None:
    assert await ends(tmp_path / "sound", deadline_lifted=False)
    # Planted bug: a deadline that ends when the body is read.
    assert not await ends(tmp_path / "planted", deadline_lifted=True)


async def test_a_change_is_finished_when_its_client_leaves(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, may_end, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def slow(*_: Any, **__: Any) -> Any:
        begun.set()
        await may_end.wait()
        ended.set()
        return house.homefire.promotion._move("v001", "local", "x")

    monkeypatch.setattr(house.homefire.promotion, "promote", slow)
    client = Asker("/v1/versions/v001/promote", {})
    answering = client.ask(house)
    await begun.wait()
    client.leave.set()
    for _ in range(100):
        await asyncio.sleep(0)
    may_end.set()
    await answering
    assert ended.is_set()


# However it ends, what is counted is counted back


async def is_answered(house: House) -> None:
    await Asker("/v1/chat/completions", CHAT).ask(house)


async def is_streamed(house: House) -> None:
    await Asker("/v1/chat/completions", {**CHAT, "stream": True}).ask(house)


async def is_refused(house: House) -> None:
    await Asker("/v1/chat/completions", {**CHAT, "n": 2}).ask(house)


async def names_no_model(house: House) -> None:
    await Asker("/v1/chat/completions", {**CHAT, "model": "nope"}).ask(house)


async def is_left(house: House) -> None:
    gate = asyncio.Event()
    client = Asker("/v1/chat/completions", {**CHAT, "stream": True})
    await is_answered(house)
    house.engines[0].gate = gate
    answering = client.ask(house)
    await until(lambda: house.engines[0].num_active)
    assert house.homefire.turns.num_running == 1
    client.leave.set()
    await answering
    house.engines[0].gate = None


async def fails(house: House) -> None:
    await is_answered(house)
    house.engines[0].fail_with = EngineCrashed("It broke.")
    client = Asker("/v1/chat/completions", CHAT)
    await client.ask(house)
    assert client.status == 502


async def fails_in_the_middle(house: House) -> None:
    await is_answered(house)
    house.engines[0].fail_with, house.engines[0].fail_after = EngineCrashed("It broke."), 2
    client = Asker("/v1/chat/completions", {**CHAT, "stream": True})
    await client.ask(house)
    assert "engine_crashed" in client.text


async def encoder_breaks(house: House) -> None:
    client = Asker("/v1/chat/completions", {**CHAT, "stream": True})

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            raise RuntimeError("the socket broke")
        client.sent.append(message)

    client.send = send  # type: ignore[method-assign]
    with pytest.raises(RuntimeError):
        await client.ask(house)


ENDS: list[Callable[[House], Any]] = [
    is_answered, is_streamed, is_refused, names_no_model, is_left, fails, fails_in_the_middle, encoder_breaks,
]  # fmt: skip


@pytest.mark.parametrize("end", ENDS)
async def test_nothing_is_in_flight_after_any_end(house: House, end: Callable[[House], Any]) -> None:
    await end(house)
    assert house.homefire.turns.num_running == 0
    assert all(engine.num_active == 0 for engine in house.engines)
    assert house.homefire.serving.queue().num_active == 0
    counted = house.app.state.context.metrics
    assert sum(counted._requests.values()) >= 1


# What every answer carries


async def test_every_answer_has_a_request_id(house: House) -> None:
    seen = set()
    async with house.client() as client:
        for method, path, options in (
            ("GET", "/health", {}),
            ("GET", "/nothing", {}),
            ("POST", "/v1/chat/completions", {"json": CHAT}),
            ("POST", "/v1/chat/completions", {"json": {**CHAT, "stream": True}}),
            ("POST", "/v1/messages", {"json": {}}),
            ("GET", "/health", {"headers": {"host": "evil.example"}}),
            ("GET", "/v1/sessions", {"headers": {"x-api-key": "hf-wrong"}}),
        ):
            answer = await client.request(method, path, **options)  # type: ignore[arg-type]
            assert answer.headers["request-id"] == answer.headers["x-request-id"]
            seen.add(answer.headers["request-id"])
    assert len(seen) == 7


async def test_the_log_names_the_request_that_failed(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(house.homefire.catalog, "list", None)
    async with house.client() as client:
        answer = await client.get("/v1/models")
    assert answer.status_code == 500
    assert answer.headers["request-id"] in caplog.text


@pytest.mark.parametrize("path", ["/health", "/", "/v1/models", "/api/version", "/openapi.json"])
async def test_head_works_where_get_does(house: House, path: str) -> None:
    async with house.client() as client:
        got, head = await client.get(path), await client.head(path)
    assert (head.status_code, head.content) == (got.status_code, b"")
    assert head.headers["content-type"] == got.headers["content-type"]


async def test_head_of_a_stream_without_an_end_ends(house: House) -> None:
    from tests.api.house import RUN, queue_run

    await queue_run(house)
    client = Asker(f"/v1/runs/{RUN}/events", method="HEAD")
    await asyncio.wait_for(client.ask(house), 10)
    assert (client.status, client.is_whole) == (200, True)


async def test_when_to_come_back_is_what_the_error_says(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    for said_s, header in ((0.2, "1"), (1.0, "1"), (7.3, "8"), (120.0, "120")):

        async def full(_: Any, said_s: float = said_s) -> Any:
            raise QueueFull("Too many wait.", retry_after_s=said_s)

        monkeypatch.setattr(house.homefire.turns, "run_whole", full)
        async with house.client() as client:
            answer = await client.post("/v1/chat/completions", json=CHAT)
        assert (answer.status_code, answer.headers["retry-after"]) == (429, header)


# Addresses that are nothing


@pytest.mark.parametrize(
    ("method", "path", "headers", "dialect"),
    [
        ("GET", "/v1/nothing", {}, "openai"),
        ("POST", "/v1/completions", {}, "openai"),
        ("GET", "/v1/nothing", {"anthropic-version": "2023-06-01"}, "anthropic"),
        ("POST", "/v1/messages/batches", {}, "anthropic"),
        ("GET", "/v1/models/nope", {}, "openai"),
        ("GET", "/v1/models/nope", {"anthropic-version": "2023-06-01"}, "anthropic"),
        ("GET", "/v1/chat/completions", {}, "openai"),
        ("GET", "/api/nothing", {}, "ollama"),
        ("POST", "/chat/completions", {}, "openai"),
        ("POST", "/messages", {}, "anthropic"),
        ("GET", "/v1/runs/nope", {}, "native"),
        ("GET", "/v1/runs/nope/nothing", {}, "native"),
        ("GET", "/nothing", {}, "native"),
    ],
)
async def test_an_unknown_address_answers_as_its_neighbours_do(
    house: House, method: str, path: str, headers: dict[str, str], dialect: str
) -> None:
    for peer, expected in (("127.0.0.1", {404, 405}), (REMOTE[0], {401})):
        async with house.client((peer, 5000), headers=headers) as client:
            answer = await client.request(method, path, json={} if method == "POST" else None)
        assert answer.status_code in expected
        assert DIALECTS[dialect].error(answer.json())


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("/chat/completions", "/v1/chat/completions"),
        ("/messages", "/v1/messages"),
        ("/models", "/v1/models"),
        ("/embeddings", "/v1/embeddings"),
        ("/v1/v1/messages", "/v1/messages"),
        ("/v1/api/chat", "/api/chat"),
        ("/tags", "/api/tags"),
    ],
)
async def test_an_address_that_is_nearly_one_gets_a_hint(house: House, path: str, meant: str) -> None:
    async with house.client() as client:
        answer = await client.post(path, json={})
    assert answer.status_code == 404
    assert f"Did you mean {meant}?" in answer.text


async def test_a_long_text_of_a_client_comes_back_shortened_and_never_half_a_key(house: House) -> None:
    for front in (0, 1990, 3990, 4000):
        body = {**CHAT, "model": "x" * front + house.key + "y" * 500_000}
        async with house.client() as client:
            answer = await client.post("/v1/chat/completions", json=body)
            native = await client.post("/v1/chat", json={"message": "hi", "model": body["model"]})
        for said in (answer, native):
            assert said.status_code == 404
            assert len(said.content) < 20_000
            assert house.key[:12] not in said.text
