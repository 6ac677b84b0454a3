"""Killing a child process so that how it ended stays known.

`Process.kill` of asyncio polls first, and where the child is dead already that poll takes its exit status away
from whoever waits for it (the status is then reported as 255). A plain signal takes nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal


def kill_child(process: asyncio.subprocess.Process) -> None:
    """SIGKILL for a child that was not waited for yet; harmless for one that has ended."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
