"""Corrections that are learned while you keep chatting.

Each is followed on a thread with a connection of its own. Their progress is shown below the prompt; how they
ended is printed above it, at once where a person is at the prompt, else as soon as the answer that is being
printed is done.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from homefire.cli.client import Client
from homefire.cli.command import Call
from homefire.cli.format import counted
from homefire.cli.output import printable
from homefire.cli.progress import label_of, position_of, wait_until_learned
from homefire.errors import HomefireError
from homefire.training.progress import Progress


class Background:
    """All corrections of one sitting that are being learned. Safe for threads."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._lock = threading.Lock()
        self._is_at_prompt = False
        self._held: list[str] = []
        self._progress: dict[int, str] = {}
        """The progress of each correction that is still being learned."""
        self._num_given = 0

    def learn(self, given: dict[str, Any], *, started_s: float) -> None:
        """Follow a correction; `given` is the server's answer to it."""
        with self._lock:
            self._num_given += 1
            number = self._num_given
            self._progress[number] = "waiting for the training"
        threading.Thread(target=self._follow, args=(number, given, started_s), daemon=True).start()

    @property
    def is_busy(self) -> bool:
        """Whether something is still being learned."""
        return bool(self._progress)

    def toolbar(self) -> str:
        """The progress of everything, in a line; empty when nothing is being learned."""
        with self._lock:
            return " | ".join(f"learning: {progress}" for progress in self._progress.values())

    @contextmanager
    def at_prompt(self) -> Iterator[None]:
        """While a person is at the prompt: news are printed above it as they come."""
        with self._lock:
            held, self._held = self._held, []
            self._is_at_prompt = True
        for text in held:
            self._call.out.note(text)
        try:
            yield
        finally:
            with self._lock:
                self._is_at_prompt = False

    def leave(self) -> None:
        """Say what continues when the chat ends."""
        with self._lock:
            held, self._held, num_left = self._held, [], len(self._progress)
        for text in held:
            self._call.out.note(text)
        if num_left:
            are = "is" if num_left == 1 else "are"
            self._call.out.note(
                f"{counted(num_left, 'correction')} {are} still being learned; see `homefire runs list`"
            )

    def _follow(self, number: int, given: dict[str, Any], started_s: float) -> None:
        def show(progress: Progress) -> None:
            done, total = position_of(progress)
            where = f" {done}/{total}" if total and not progress.has_ended else ""
            with self._lock:
                self._progress[number] = label_of(progress) + where

        try:
            with Client(self._call.client.address) as client:
                said = wait_until_learned(client, given, show=show, say=self._say, started_s=started_s)
        except HomefireError as error:
            said = f"not learned: {error}"
        with self._lock:
            del self._progress[number]
        self._say(said)

    def _say(self, text: str) -> None:
        with self._lock:
            if not self._is_at_prompt:
                self._held.append(text)
                return
            # At the prompt this is the editor's stand-in for standard output, which prints above it.
            sys.stdout.write(printable(text) + "\n")
            sys.stdout.flush()
