"""A child process that is given a time and may say so much: how untrusted files are looked at.

The child sets its own limits on CPU and memory first (`limits.limit_process`); this side ends it when it lasts too
long or says too much, and when whoever asked gives up. Costs the start of a Python process.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from homefire.config.secrets import without_secrets
from homefire.machine.children import kill_child

_TAIL_BYTES = 2000


@dataclass(frozen=True, slots=True)
class ChildEnd:
    """How a child ended. `status` is None where it was ended for its time or for the length of its output."""

    status: int | None
    output: bytes
    stderr_tail: str
    why_ended: str = ""


async def run_limited(
    module: str, arguments: Sequence[str], *, timeout_s: float, max_output_bytes: int
) -> ChildEnd:
    """Run `python -m module`; it is gone when this returns or is cancelled. Raises only OSError at its start."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        module,
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=without_secrets(os.environ),
    )
    assert process.stdout is not None
    assert process.stderr is not None
    said = bytearray()
    complaints = asyncio.ensure_future(_tail(process.stderr))
    why_ended = ""
    try:
        async with asyncio.timeout(timeout_s):
            while data := await process.stdout.read(1 << 16):
                said += data
                if len(said) > max_output_bytes:
                    why_ended = f"it says more than {max_output_bytes >> 20} MiB"
                    break
            else:
                await process.wait()
    except TimeoutError:
        why_ended = f"it takes longer than {timeout_s:g} s"
    finally:
        kill_child(process)
        await asyncio.shield(process.wait())
        stderr_tail = await complaints
    status = None if why_ended else process.returncode
    return ChildEnd(status, bytes(said[:max_output_bytes]), stderr_tail, why_ended)


async def _tail(stream: asyncio.StreamReader) -> str:
    tail = bytearray()
    while data := await stream.read(_TAIL_BYTES):
        tail += data
        del tail[:-_TAIL_BYTES]
    return tail.decode("utf-8", errors="replace").strip()
