"""The longest stretch for which any request holds the event loop: hostile and ordinary requests, a real application.

    python -m bench.hostile_requests [--requests 2000] [--seed 0] [--only KIND]

The server runs in one thread on asyncio's own loop (whose callbacks can be measured), with its store, scheduler and
pages, behind a real socket; the engine answers at once. The client is a process of its own, so that a collection of
garbage in the server does not visit its objects. It sends as many hostile requests as ordinary ones, mixed by a seed,
over a few connections. What counts is processor time of the loop's thread in one callback. The row
is recorded at full volume only.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import gzip
import http.client
import json
import random
import socket
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from tests.support.loop_stretch import Stretches, measure_stretches
from tests.support.scripted_engine import ScriptedEngine

from bench.results import record
from homefire.api.run import Server, bind, uvicorn_config
from homefire.api.server import create_app
from homefire.app import build
from homefire.config.loader import load_settings
from homefire.home import Home
from homefire.types import Message
from homefire.web.routes import add_pages

FULL_VOLUME = 2000
LIMIT_MS = 5.0
NUM_CONNECTIONS = 4
MIB = 1 << 20
JSON = {"content-type": "application/json"}


class EngineBesideTheLoop(ScriptedEngine):
    """Counts in a thread, as a worker process counts in a process: its time is not the event loop's."""

    async def count_tokens(self, messages: Sequence[Message], *, prompt: str | None = None) -> int:
        """As the scripted engine."""
        count = super().count_tokens
        return await asyncio.to_thread(lambda: asyncio.run(count(messages, prompt=prompt)))


class Asked(NamedTuple):
    """One request."""

    kind: str
    method: str
    path: str
    body: bytes
    headers: dict[str, str]


def said(*contents: str) -> list[dict[str, str]]:
    """A conversation that ends with the user."""
    roles = ("assistant", "user") if len(contents) % 2 == 0 else ("user", "assistant")
    return [{"role": roles[index % 2], "content": text} for index, text in enumerate(contents)]


def ordinary(random_: random.Random) -> Asked:
    """What clients do all day."""
    text = f"What is {random_.randrange(1000)} + {random_.randrange(1000)}?"
    stream = random_.random() < 0.5
    bodies: list[tuple[str, Any]] = [
        ("/v1/chat/completions", {"model": "default", "messages": said(text), "stream": stream}),
        ("/v1/messages", {"model": "default", "max_tokens": 50, "messages": said(text), "stream": stream}),
        ("/api/chat", {"model": "default", "messages": said(text, "Yes.", "And now?"), "stream": stream}),
        ("/v1/chat", {"message": text, "stream": stream}),
    ]
    pages = ["/", "/health", "/v1/models", "/v1/sessions", "/api/tags", "/v1/status", "/runs", "/versions"]
    if random_.random() < 0.4:
        headers = {"accept": "text/html"} if random_.random() < 0.3 else {}
        return Asked("ordinary", "GET", random_.choice(pages), b"", headers)
    path, body = random_.choice(bodies)
    return Asked("ordinary", "POST", path, json.dumps(body).encode(), JSON)


CHATS = ["/v1/chat/completions", "/v1/messages", "/api/chat", "/v1/chat"]


def chat(random_: random.Random, messages: Any, **more: Any) -> tuple[str, bytes, dict[str, str]]:
    """These messages, in one of the dialects."""
    path = random_.choice(CHATS)
    body = {"messages": messages, **more}
    if path != "/v1/chat":
        body["model"] = "default"
    if path == "/v1/messages":
        body["max_tokens"] = 20
    return path, json.dumps(body).encode(), JSON


Make = Callable[[random.Random], tuple[str, bytes, dict[str, str]]]


def post(path: str, body: Any, **headers: str) -> tuple[str, bytes, dict[str, str]]:
    """This document, or these bytes, at one address."""
    return path, body if isinstance(body, bytes) else json.dumps(body).encode(), {**JSON, **headers}


def packed(body: bytes, level: int) -> tuple[str, bytes, dict[str, str]]:
    """A chat whose body is compressed."""
    path, content, headers = post("/v1/chat", gzip.compress(body, level))
    return path, content, {**headers, "content-encoding": "gzip"}


def numbered(number: int) -> list[str]:
    """Many short texts."""
    return [f"s{index}" for index in range(number)]


HOSTILE: dict[str, tuple[float, Make]] = {
    # (share, request): the large ones are few, so that the whole takes minutes.
    "20,000 messages of one character": (0.02, lambda r: chat(r, said(*["x"] * 19_999))),
    "100,000 messages": (0.01, lambda r: chat(r, said(*["x"] * 99_999))),
    "one long message": (0.02, lambda r: chat(r, said("x" * (7 * MIB)))),
    "one long word of emoji": (0.02, lambda r: chat(r, said("😀" * (MIB // 4)))),
    "a long name of a model": (0.02, lambda r: post("/v1/chat", {"message": "a", "model": "m" * 4 * MIB})),
    "a long unknown field": (0.02, lambda r: chat(r, said("a"), **{"f" * (4 * MIB): 1})),
    "many unknown fields": (0.02, lambda r: chat(r, said("a"), **dict.fromkeys(numbered(50_000), 1))),
    "deep nesting": (0.05, lambda r: post("/v1/chat", b'{"message":' + b"[" * 500_000)),
    "a deep schema": (0.05, lambda r: chat(r, said("a"), json_schema=deep(400))),
    "many numbers": (
        0.02,
        lambda r: post("/v1/embeddings", b'{"model":"default","input":[' + b"1," * 2 * MIB),
    ),
    "many short texts to embed": (
        0.02,
        lambda r: post("/v1/embeddings", {"model": "default", "input": numbered(20_000)}),
    ),
    "many stop strings": (0.05, lambda r: chat(r, said("a"), stop=numbered(20_000))),
    "a bomb": (0.05, lambda r: packed(bytes(64 * MIB), 9)),
    "a large packed body": (0.02, lambda r: packed(json.dumps({"message": "x y " * MIB}).encode(), 1)),
    "not JSON": (0.05, lambda r: post(r.choice(CHATS), r.randbytes(200_000))),
    "half a string": (0.03, lambda r: post(r.choice(CHATS), b'{"messages":"' + b"\\u00e9" * 500_000)),
    "many headers": (0.1, lambda r: post("/v1/chat", b"{}", **dict.fromkeys(numbered(90), "y"))),
    "a long header": (0.1, lambda r: post("/v1/chat", b"{}", long="y" * 50_000)),
    "a wrong key": (0.1, lambda r: post("/v1/chat", b"{}", authorization=f"Bearer hf-{r.random()}")),
    "an address nobody asked for": (0.1, lambda r: post(f"/v1/{r.random()}/{'x' * 5000}", b"{}")),
    "a long cookie": (0.1, lambda r: post("/v1/chat", b"{}", cookie="; ".join(["a=b"] * 9000))),
    "a correction of megabytes": (
        0.02,
        lambda r: post("/v1/corrections", {"prompt": "x " * MIB, "answer": "y"}),
    ),
    "a count of many messages": (
        0.02,
        lambda r: post("/v1/messages/count_tokens", {"model": "default", "messages": said(*["x"] * 19_999)}),
    ),
}


def deep(levels: int) -> dict[str, Any]:
    """A schema of objects in objects."""
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(levels):
        schema = {"type": "object", "properties": {"a": schema}}
    return schema


def hostile(random_: random.Random, only: str | None) -> Asked:
    """What nobody sends by accident."""
    kinds = [only] if only else list(HOSTILE)
    kind = random_.choices(kinds, [HOSTILE[name][0] for name in kinds])[0]
    path, body, headers = HOSTILE[kind][1](random_)
    return Asked(kind, "POST", path, body, headers)


def serve_in_thread(root: Path) -> tuple[threading.Thread, str, Callable[[], None]]:
    """A whole Homefire on asyncio's loop: its thread, its port, and how to end it."""
    found: dict[str, Any] = {}
    ready = threading.Event()

    async def live() -> None:
        home = Home(root / "home")
        loaded = load_settings(home, overrides={"server.port": "0", "training.auto": "false"})
        homefire = build(
            loaded,
            home,
            make_engine=lambda files: EngineBesideTheLoop(files, answer="Seven, as it was yesterday."),
        )
        app = create_app(homefire)
        add_pages(app)
        listener = bind("127.0.0.1", 0)
        # `run.serve` freezes what was imported as well.
        gc.freeze()
        server = Server(uvicorn_config(app, drain_timeout_s=2), app, on_ready=ready.set)
        found.update(server=server, port=listener.getsockname()[1])
        async with homefire.running():
            await server.serve(sockets=[listener])

    thread = threading.Thread(target=lambda: asyncio.run(live()), name="server")
    thread.start()
    ready.wait()

    def stop() -> None:
        found["server"].should_exit = True
        thread.join()

    return thread, found["port"], stop


def send(port: int, asked: Asked) -> int:
    """The status that came back; 0 where the connection was cut."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.connect()
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.request(asked.method, asked.path, asked.body or None, asked.headers)
        answer = connection.getresponse()
        answer.read()
        return answer.status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def send_all(port: int, num_requests: int, *, seed: int, only: str | None) -> None:
    """The client, a process of its own: it warms the server up, waits for a line, and prints what was answered."""
    random_ = random.Random(seed)
    order = [ordinary] * num_requests + [lambda r: hostile(r, only)] * num_requests
    random_.shuffle(order)
    answers: Counter[tuple[str, int]] = Counter()
    for _ in range(20):
        send(port, ordinary(random_))
    print("ready", flush=True)
    sys.stdin.readline()
    with ThreadPoolExecutor(NUM_CONNECTIONS) as pool:
        for begin in range(0, len(order), 100):
            batch = [make(random_) for make in order[begin : begin + 100]]
            for asked, status in zip(batch, pool.map(lambda asked: send(port, asked), batch), strict=True):
                answers[asked.kind, status] += 1
    print(json.dumps([[kind, status, number] for (kind, status), number in answers.items()]))


def measure(num_requests: int, *, seed: int, only: str | None) -> tuple[Stretches, Counter[tuple[str, int]]]:
    """The stretches, and how each kind was answered."""
    with tempfile.TemporaryDirectory() as folder:
        thread, port, stop = serve_in_thread(Path(folder))
        command = [sys.executable, "-m", "bench.hostile_requests", "--client", str(port), "--seed", str(seed)]
        command += ["--requests", str(num_requests), *(("--only", only) if only else ())]
        client = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert client.stdin is not None
        assert client.stdout is not None
        try:
            client.stdout.readline()
            with measure_stretches(thread) as stretches:
                client.stdin.write("go\n")
                client.stdin.flush()
                found = json.loads(client.stdout.readline())
        finally:
            client.kill()
            client.wait()
            stop()
    return stretches, Counter({(kind, status): number for kind, status, number in found})


def main() -> None:
    """Measure, print the longest stretches, and record at full volume."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=FULL_VOLUME)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=HOSTILE)
    parser.add_argument("--client", type=int, metavar="PORT", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.client is not None:
        send_all(arguments.client, arguments.requests, seed=arguments.seed, only=arguments.only)
        return
    stretches, answers = measure(arguments.requests, seed=arguments.seed, only=arguments.only)
    for (kind, status), number in sorted(answers.items()):
        print(f"{number:6} × {status}  {kind}")
    for seconds, what in sorted(stretches.worst, reverse=True):
        print(f"{seconds * 1e3:9.2f} ms  {what}")
    if arguments.requests >= FULL_VOLUME and arguments.only is None:
        record(
            "longest stretch of the event loop, over 2,000 hostile and 2,000 ordinary requests",
            stretches.longest_s * 1e3,
            "ms",
            reach=f"<= {LIMIT_MS:g}",
            better="lower",
            command="python -m bench.hostile_requests",
        )


if __name__ == "__main__":
    main()
