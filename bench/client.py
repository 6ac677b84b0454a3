"""What a benchmark does to a server: ask, correct, wait. Only the public API is used."""

from __future__ import annotations

import threading
import time
import urllib.error
from collections.abc import Sequence
from typing import Any

from tests.support.server import LiveServer


def ask(
    server: LiveServer, messages: Sequence[dict[str, str]], model: str = "default", *, max_tokens: int = 96
) -> str:
    """The greedy answer."""
    body = {"model": model, "messages": list(messages), "temperature": 0, "max_tokens": max_tokens}
    text: str = server.post("/v1/chat/completions", body)["choices"][0]["message"]["content"]
    return text


def correct(server: LiveServer, question: str, answer: str) -> Any:
    """Ask, and say what it should have been."""
    turn = server.post("/v1/chat", {"message": question, "stream": False})
    return server.post("/v1/feedback", {"turn_id": turn["turn_id"], "verdict": "correction", "text": answer})


def live_model(server: LiveServer) -> str:
    """What `live` means now."""
    name: str = server.get("/v1/route?model=live")["served_model"]
    return name


def wait_for_run(server: LiveServer, *, num_ended: int, timeout_s: float = 300) -> dict[str, Any]:
    """The newest run, when `num_ended` runs have ended."""
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        runs = server.get("/v1/runs")["runs"]
        ended = [run for run in runs if run["state"] in {"done", "refused", "failed", "skipped", "stopped"}]
        if len(ended) >= num_ended:
            newest: dict[str, Any] = max(ended, key=lambda run: run["ended_at_s"])
            return newest
        time.sleep(0.05)
    raise SystemExit(f"no run ended within {timeout_s} s")


class Traffic:
    """Questions without a pause, from the first to the last line of a `with` block."""

    def __init__(self, server: LiveServer, pause_s: float = 0.02) -> None:
        self._server, self._pause_s = server, pause_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.latencies_s: list[float] = []
        self.failures: list[str] = []

    def __enter__(self) -> Traffic:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            began_s = time.perf_counter()
            try:
                if not ask(self._server, [{"role": "user", "content": "What is 3 + 4?"}]):
                    self.failures.append("empty answer")
            except (urllib.error.URLError, OSError, KeyError) as error:
                self.failures.append(repr(error))
            self.latencies_s.append(time.perf_counter() - began_s)
            self._stop.wait(self._pause_s)
