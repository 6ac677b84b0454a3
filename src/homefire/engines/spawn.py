"""The start of a worker process: spawned, loaded, or gone without a trace.

The worker inherits one end of a socket pair: nothing listens and nothing has a name, so no other process can
take its place or speak to it. What a library inside the worker wants to listen on lies in a directory that only
this user may enter (mode 0700).
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

from homefire.config.secrets import without_secrets
from homefire.engines.base import ModelSpec
from homefire.engines.worker_process import WorkerProcess
from homefire.errors import EngineCrashed, HomefireError
from homefire.world import Clock

_SLOW_WAITING = "OMP_WAIT_POLICY"
"""Set to `active` by some environments; it makes a worker beside others ten times slower."""


async def spawn_worker(
    spec: ModelSpec,
    *,
    module: str,
    sockets: Path,
    load_timeout_s: float,
    stall_timeout_s: float,
    clock: Clock,
    environ: Mapping[str, str],
) -> WorkerProcess:
    """Run `python -m module` and have it load `spec`; raises what kept it from that, leaving nothing behind."""
    remove_stale(sockets)
    directory = sockets / f"engine-{os.getpid()}-{secrets.token_hex(4)}"
    directory.mkdir(mode=0o700, parents=True)
    ours, theirs = socket.socketpair()
    try:
        with theirs:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                module,
                "--connection",
                str(theirs.fileno()),
                "--directory",
                str(directory),
                "--parent",
                str(os.getpid()),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                env=worker_environment(environ, num_threads=spec.num_threads),
                pass_fds=(theirs.fileno(),),
            )
    except BaseException:
        ours.close()
        shutil.rmtree(directory, ignore_errors=True)
        raise
    worker = WorkerProcess(
        process,
        await asyncio.open_unix_connection(sock=ours),
        directory=directory,
        name=spec.name,
        num_parallel=spec.num_parallel,
        stall_timeout_s=stall_timeout_s,
        clock=clock,
    )
    try:
        await worker.load(spec, timeout_s=load_timeout_s)
    except BaseException as error:
        worker.kill()
        await worker.end(
            error if isinstance(error, HomefireError) else EngineCrashed("Loading was given up.")
        )
        raise
    return worker


def worker_environment(environ: Mapping[str, str], *, num_threads: int) -> dict[str, str]:
    """The server's environment without secrets, and with the worker's own number of threads."""
    inherited = {name: value for name, value in without_secrets(environ).items() if name != _SLOW_WAITING}
    return {**inherited, "OMP_NUM_THREADS": str(num_threads)}


def remove_stale(sockets: Path) -> None:
    """Remove the socket directories of servers that are gone (killed, they could not do it themselves)."""
    for path in sockets.glob("engine-*-*"):
        owner = path.name.split("-")[1]
        if owner.isdigit() and int(owner) != os.getpid() and not Path(f"/proc/{owner}").exists():
            shutil.rmtree(path, ignore_errors=True)
