"""The start of a worker process: spawned, connected, loaded, or gone without a trace.

The connection is a Unix socket in a private directory, and only that of the very process that was started is
taken.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import socket
import struct
import sys
from collections.abc import Mapping
from pathlib import Path

from homefire.engines.base import ModelSpec
from homefire.engines.life import WorkerLife
from homefire.errors import EngineCrashed, EngineError, EngineTimeout, HomefireError
from homefire.machine.children import kill_child
from homefire.world import Clock

_PRIVATE_VARIABLES = ("HOMEFIRE_API_KEY", "CREDENTIALS_DIRECTORY", "OMP_WAIT_POLICY")
"""Not passed to the worker: secrets it has no use for, and a wait policy that makes it ten times slower."""


async def start_life(
    spec: ModelSpec,
    *,
    sockets: Path,
    load_timeout_s: float,
    stall_timeout_s: float,
    clock: Clock,
    environ: Mapping[str, str],
) -> WorkerLife:
    """Spawn a worker and load `spec`; raises what kept it from that, with nothing left behind."""
    remove_stale(sockets)
    directory = sockets / f"engine-{os.getpid()}-{secrets.token_hex(4)}"
    directory.mkdir(mode=0o700, parents=True)
    try:
        process, connection = await _spawn(directory, spec, environ, timeout_s=load_timeout_s)
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise
    streams = await asyncio.open_unix_connection(sock=connection)
    life = WorkerLife(
        process,
        streams,
        directory=directory,
        name=spec.name,
        stall_timeout_s=stall_timeout_s,
        clock=clock,
    )
    try:
        await life.load(spec, timeout_s=load_timeout_s)
    except BaseException as error:
        life.kill()
        await life.end(error if isinstance(error, HomefireError) else EngineCrashed("Loading was given up."))
        raise
    return life


async def _spawn(
    directory: Path, spec: ModelSpec, environ: Mapping[str, str], *, timeout_s: float
) -> tuple[asyncio.subprocess.Process, socket.socket]:
    """A worker process and the connection it made to us."""
    environment = {name: value for name, value in environ.items() if name not in _PRIVATE_VARIABLES}
    environment["OMP_NUM_THREADS"] = str(spec.num_threads)
    with _listen(directory / "server.sock") as listener:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "homefire.engines.worker",
            "--socket",
            str(directory / "server.sock"),
            "--parent",
            str(os.getpid()),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env=environment,
        )
        try:
            return process, await _accept(listener, process, timeout_s=timeout_s)
        except BaseException:
            kill_child(process)
            # Read to the end: a pipe left open would warn when it is collected.
            await process.communicate()
            raise


def _listen(path: Path) -> socket.socket:
    """A listening Unix socket of mode 0600 at a path of any length.

    An address holds 107 bytes; a way through an open descriptor of the directory always fits.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        listener.bind(f"/proc/self/fd/{descriptor}/{path.name}")
        path.chmod(0o600)
        listener.listen(1)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    finally:
        os.close(descriptor)
    return listener


async def _accept(
    listener: socket.socket, process: asyncio.subprocess.Process, *, timeout_s: float
) -> socket.socket:
    """The connection of that very process; EngineCrashed when it ends before, EngineTimeout when it hangs."""
    loop = asyncio.get_running_loop()
    accepting = loop.create_task(loop.sock_accept(listener))
    ending = loop.create_task(process.wait())
    try:
        await asyncio.wait((accepting, ending), timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if accepting.done():
            connection, _ = accepting.result()
            credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
            if struct.unpack("3i", credentials)[0] == process.pid:
                return connection
            connection.close()
            raise EngineError("Another process connected to the engine's socket; it was turned away.")
        if ending.done():
            _, last_words = await process.communicate()
            raise EngineCrashed(
                f"The engine's process did not start (status {process.returncode}).",
                last_words=last_words.decode("utf-8", errors="replace")[-500:],
            )
        raise EngineTimeout(f"The engine's process did not answer within {timeout_s:g} s.")
    finally:
        for task in (accepting, ending):
            task.cancel()
        await asyncio.gather(accepting, ending, return_exceptions=True)


def remove_stale(sockets: Path) -> None:
    """Remove the socket directories of servers that are gone (killed, they could not do it themselves)."""
    for path in sockets.glob("engine-*-*"):
        owner = path.name.split("-")[1]
        if owner.isdigit() and int(owner) != os.getpid() and not Path(f"/proc/{owner}").exists():
            shutil.rmtree(path, ignore_errors=True)
