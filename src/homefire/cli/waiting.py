"""A sign on the terminal that an answer is being waited for, and for what: the queue, a model that loads.

Shown on standard error, only where that and standard output are terminals, and gone without a trace when the
first word comes. What is waited for is asked from the server twice a second, on a connection of its own, and not
before the wait has lasted a moment: a quick answer costs nothing.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from homefire.cli.command import Call
from homefire.cli.format import clipped
from homefire.cli.output import paint, printable
from homefire.errors import HomefireError

_FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_FRAME_S = 0.1
_FIRST_SIGN_S = 0.2
_POLL_S = 0.5
_ERASE = "\r\x1b[2K"


def reason_of(status: dict[str, Any], place: int | None) -> tuple[str, int | None]:
    """What a request waits for, and its place in the queue as far as `/v1/status` tells.

    `place` is what was known before: who comes later is behind, so a place only ever gets better.
    """
    waiting = int(status["queue"]["waiting"])
    place = min(waiting, place if place is not None else waiting)
    loading = [str(model["name"]) for model in status["resident"] if model["state"] == "loading"]
    if loading:
        return f"loading {', '.join(loading)}", place
    if place:
        return f"waiting in the queue, place {place} of {waiting}", place
    return "waiting for the first word", place


class Waiting(AbstractContextManager["Waiting"]):
    """Between `__enter__` and the first word (or `__exit__`): the sign. Nothing where nobody would see it."""

    def __init__(self, call: Call) -> None:
        self._call, self._stream = call, call.out.notes
        self._is_shown = call.out.is_terminal and self._stream.isatty() and os.environ.get("TERM") != "dumb"
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._label = "waiting for the server"
        self._started_s = time.monotonic()
        self._threads = [
            threading.Thread(target=target, name="waiting", daemon=True) for target in (self._draw, self._ask)
        ]

    def __enter__(self) -> Waiting:
        if self._is_shown:
            for thread in self._threads:
                thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """Take the sign away; nothing is drawn afterwards."""
        with self._lock:
            if self._is_shown and not self._stop.is_set():
                self._stream.write(_ERASE)
                self._stream.flush()
            self._stop.set()

    def until_first(self, show: Callable[[str], None]) -> Callable[[str], None]:
        """`show`, after the sign is gone."""

        def shown(text: str) -> None:
            if text and not self._stop.is_set():
                self.end()
            show(text)

        return shown

    def _draw(self) -> None:
        self._stop.wait(_FIRST_SIGN_S)
        number = 0
        while not self._stop.is_set():
            waited_s = time.monotonic() - self._started_s
            room = shutil.get_terminal_size().columns - 1
            text = clipped(
                f"{_FRAMES[number % len(_FRAMES)]} {printable(self._label)}, {waited_s:.0f} s", room
            )
            with self._lock:
                if not self._stop.is_set():
                    self._stream.write(_ERASE + paint(text, "dim", self._stream))
                    self._stream.flush()
            number += 1
            self._stop.wait(_FRAME_S)

    def _ask(self) -> None:
        from homefire.cli.client import Client

        place: int | None = None
        try:
            with Client(self._call.client.address, timeout_s=2.0) as client:
                while not self._stop.wait(_POLL_S):
                    self._label, place = reason_of(client.get("/v1/status"), place)
        except (HomefireError, KeyError, TypeError, ValueError):
            self._label = "waiting"  # the request itself will say what is wrong
