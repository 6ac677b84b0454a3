"""Requests without a pause while something else happens: how many failed, and how slow was the slowest."""

from __future__ import annotations

import threading
import time
from collections import Counter

from homefire.cli.client import Client
from homefire.cli.demo_server import DemoServer
from homefire.errors import HomefireError

PAUSE_S = 0.02
"""Between an answer and the next question: the demo shows promises, it does not measure load."""


class ContinuousRequests:
    """One caller that asks again when it was answered, on a thread, from `__enter__` to `__exit__`."""

    def __init__(self, server: DemoServer, question: str) -> None:
        self._server, self._question = server, question
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="demo-requests", daemon=True)
        self.served_by: Counter[str] = Counter()
        """Model → number of answers, in the order of their first answer."""
        self.failures: list[str] = []
        self.slowest_s = 0.0

    @property
    def num_answers(self) -> int:
        """Answers so far."""
        return sum(self.served_by.values())

    def __enter__(self) -> ContinuousRequests:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def summary(self) -> str:
        """`312 answers (ember 290, v001 22), 0 failed, slowest 61 ms`."""
        who = ", ".join(f"{model} {number}" for model, number in self.served_by.items())
        slowest = f"slowest {self.slowest_s * 1000:.0f} ms"
        return f"{self.num_answers} answers ({who}), {len(self.failures)} failed, {slowest}"

    def _run(self) -> None:
        with self._server.client() as client:
            while not self._stop.is_set():
                self._ask(client)
                self._stop.wait(PAUSE_S)

    def _ask(self, client: Client) -> None:
        started_s = time.monotonic()
        try:
            answer = client.post("/v1/chat", {"message": self._question, "stream": False})
            self.served_by[str(answer["served_model"])] += 1
        except HomefireError as error:
            self.failures.append(str(error))
            self._stop.wait(0.05)
        self.slowest_s = max(self.slowest_s, time.monotonic() - started_s)
