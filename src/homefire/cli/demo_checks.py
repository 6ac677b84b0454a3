"""Helpers of the demo: judging answers, watching a run on a thread, asking without a pause, damaging a file."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from homefire.cli.client import Client
from homefire.cli.demo_server import DemoServer
from homefire.cli.format import counted
from homefire.cli.progress import watch
from homefire.errors import HomefireError, PromiseBroken
from homefire.training.progress import Progress

RUN_TIMEOUT_S = 120.0
ASK_PAUSE_S = 0.02
"""Between an answer and the next question: the demo shows promises, it does not measure load."""


def is_same(answer: str, wanted: str) -> bool:
    """Equal up to white space around and the case of letters."""
    return answer.strip().casefold() == wanted.strip().casefold()


def is_promoted(run: dict[str, Any]) -> bool:
    """Whether a run ended with a version that answers now."""
    return run.get("state") == "done" and bool(run.get("promoted"))


def read_probes(path: Path, *, limit: int) -> list[tuple[list[dict[str, str]], str]]:
    """Every so-many-th protected prompt of a model: (messages, right answer), at most `limit`."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    stride = max(1, -(-len(rows) // limit))
    return [(row["messages"], str(row["answer"])) for row in rows[::stride]]


def flip_byte(path: Path) -> None:
    """Change one bit in the middle of a file, as a dying disk would."""
    path.chmod(0o600)
    with path.open("r+b") as opened:
        opened.seek(path.stat().st_size // 2)
        byte = opened.read(1)[0]
        opened.seek(-1, 1)
        opened.write(bytes([byte ^ 1]))


class Watcher:
    """Follows a run on a thread with a connection of its own; the demo waits for what it needs to see."""

    def __init__(self, server: DemoServer, run_id: str, *, show: Callable[[Progress], None]) -> None:
        self._server, self._run_id, self._show = server, run_id, show
        self._changed = threading.Condition()
        self._steps: list[Progress] = []
        self._failure: HomefireError | None = None
        self._thread = threading.Thread(target=self._run, name="demo-watcher", daemon=True)

    def __enter__(self) -> Watcher:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(timeout=1.0)

    def wait(self, wanted: Callable[[Progress], bool]) -> Progress:
        """The first sign of life for which `wanted` holds. PromiseBroken when it never comes."""
        with self._changed:
            found = self._changed.wait_for(lambda: self._failure or self._find(wanted), timeout=RUN_TIMEOUT_S)
            if isinstance(found, Progress):
                return found
        raise PromiseBroken(
            f"The run {self._run_id} did not do what was waited for within {RUN_TIMEOUT_S:.0f} s.",
            hint=f"See {self._server.log}.",
        ) from self._failure

    def _find(self, wanted: Callable[[Progress], bool]) -> Progress | None:
        return next((step for step in self._steps if wanted(step) or step.has_ended), None)

    def _run(self) -> None:
        try:
            with self._server.client() as client:
                for step in watch(client, self._run_id):
                    self._show(step)
                    with self._changed:
                        self._steps.append(step)
                        self._changed.notify_all()
        except HomefireError as error:
            with self._changed:
                self._failure = error
                self._changed.notify_all()


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
        return f"{counted(self.num_answers, 'answer')} ({who}), {len(self.failures)} failed, {slowest}"

    def _run(self) -> None:
        with self._server.client() as client:
            while not self._stop.is_set():
                self._ask(client)
                self._stop.wait(ASK_PAUSE_S)

    def _ask(self, client: Client) -> None:
        started_s = time.monotonic()
        try:
            answer = client.post("/v1/chat", {"message": self._question, "stream": False})
            self.served_by[str(answer["served_model"])] += 1
        except HomefireError as error:
            self.failures.append(str(error))
            self._stop.wait(0.05)
        self.slowest_s = max(self.slowest_s, time.monotonic() - started_s)
