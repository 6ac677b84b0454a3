"""Bounds on what this process may use: for a child that reads what a stranger wrote, and for one step of a worker.

`limit_process` holds for the rest of the process. `bounded` holds for one step: the kernel ends the process when
the step lasts too long, also where it never leaves a single call into C, and memory beyond the bound is refused
(MemoryError). Linux. `bounded` costs about 15 µs.
"""

from __future__ import annotations

import os
import resource
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_STATM = Path("/proc/self/statm")
_DATA_FIELD = 5
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_stepping = threading.Lock()
"""There is one timer and one limit for all threads of a process."""


def limit_process(*, cpu_s: int, memory_bytes: int) -> None:
    """Allow this process so much CPU time (SIGXCPU ends it) and memory (MemoryError), and no file to write.

    Files that are mapped for reading do not count as memory.
    """
    for kind, limit in (
        (resource.RLIMIT_CPU, cpu_s),
        (resource.RLIMIT_DATA, memory_bytes),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(kind)
        lower = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(kind, (lower, lower))


@contextmanager
def bounded(*, timeout_s: float, memory_bytes: int) -> Iterator[None]:
    """Run one step within bounds: SIGALRM ends the process after `timeout_s`; `memory_bytes` may come on top.

    One step at a time in a process: others wait. Nobody else in the process may use SIGALRM.
    """
    with _stepping:
        soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
        limit = _data_bytes() + memory_bytes
        if hard != resource.RLIM_INFINITY:
            limit = min(limit, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
        signal.setitimer(signal.ITIMER_REAL, timeout_s)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _data_bytes() -> int:
    return int(_STATM.read_bytes().split()[_DATA_FIELD]) * _PAGE_BYTES
