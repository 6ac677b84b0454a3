"""A kill at any operation, inside the test's process: from then on nothing reaches the disk any more.

A killed process tidies nothing up, so after its moment the switch lets no later operation through either,
whatever `except` and `finally` would still like to do. Operations are what changes a directory or flushes
(`watch_files`), what a database runs (`watch_database`), and what else calls `point`.
"""

from __future__ import annotations

import itertools
import os
from typing import Any

import pytest

from homefire.store.driver import driver

CHANGES = ("fsync", "link", "mkdir", "rename", "replace", "rmdir", "symlink", "unlink")


class Killed(BaseException):
    """The process ends here."""


class KillSwitch:
    """Kills at operation number `number` (from 0), before it is done; never where there are not so many."""

    def __init__(self, number: int) -> None:
        self._number = number
        self.done: list[str] = []
        """The kinds of the operations that were done."""
        self.has_killed = False

    def point(self, kind: str) -> None:
        """An operation is about to be done."""
        if len(self.done) == self._number:
            self.has_killed = True
            raise Killed
        self.done.append(kind)

    def retire(self) -> None:
        """What was to be killed is over: kill nothing any more."""
        self._number = -1

    def watch_files(self, patch: pytest.MonkeyPatch) -> None:
        """Count what changes a directory or flushes, in the whole process."""

        def watched(name: str, real: Any) -> Any:
            def run(*args: Any, **kwargs: Any) -> Any:
                self.point(name)
                return real(*args, **kwargs)

            return run

        for name in CHANGES:
            patch.setattr(os, name, watched(name, getattr(os, name)))

    def watch_database(self, patch: pytest.MonkeyPatch, *, autocommit: bool = False) -> None:
        """Count every statement of connections made from now on. `autocommit`: their transactions are none."""
        switch, connect = self, driver.connect

        class Cursor(driver.Cursor):
            def execute(self, sql: str, *parameters: Any) -> Any:
                kind = sql.split()[0]
                switch.point(kind)
                if autocommit and kind in ("BEGIN", "COMMIT", "ROLLBACK"):
                    sql, parameters = "SELECT 1", ()
                return super().execute(sql, *parameters)

        class Connection(driver.Connection):
            def cursor(self, *args: Any, **kwargs: Any) -> Any:
                return super().cursor(Cursor)

        def watched(*args: Any, **kwargs: Any) -> Any:
            return connect(*args, **{"factory": Connection, **kwargs})

        patch.setattr(driver, "connect", watched)


def telling_moments(kinds: list[str]) -> list[int]:
    """The numbers of these operations; of more than three of one kind in a row the first, a middle one and
    the last. One more stands for no kill at all."""
    moments, start = [], 0
    for _, alike in itertools.groupby(kinds):
        end = start + len(list(alike)) - 1
        moments.extend(sorted({start, (start + end) // 2, end}))
        start = end + 1
    return [*moments, len(kinds)]
