"""How a child ended stays known when it is killed after its end."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest

from homefire.machine.children import kill_child


def ended_child() -> subprocess.Popen[bytes]:
    """A child that exited with 7 and that nobody waited for."""
    child = subprocess.Popen([sys.executable, "-c", "import sys; sys.exit(7)"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    return child


def test_the_status_of_an_ended_child_is_left_for_who_waits() -> None:
    child = ended_child()
    kill_child(SimpleNamespace(pid=child.pid, returncode=None))  # type: ignore[arg-type]
    _, status = os.waitpid(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 7


def test_a_kill_that_polls_takes_the_status_away() -> None:
    child = ended_child()
    child.kill()
    with pytest.raises(ChildProcessError):
        os.waitpid(child.pid, 0)


async def test_a_running_child_is_killed_and_a_gone_one_left_alone() -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", "import time; time.sleep(60)")
    kill_child(process)
    assert await process.wait() == -signal.SIGKILL
    kill_child(process)
