"""A server of its own for the demo: started, watched and stopped as a process, spoken to over HTTP only."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from homefire.cli.address import Address, running_server
from homefire.cli.client import Client
from homefire.errors import ServerUnreachable

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0
TRAINER_MODULE = "homefire.trainer.worker"
_POLL_S = 0.02


class DemoServer:
    """`homefire up` on a home, in a child process, on a free port. Its output goes to a file in the home."""

    def __init__(self, home: Path, *, settings: tuple[str, ...] = ()) -> None:
        self.home = home
        self.log = home / "server.log"
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> float:
        """Start and wait for the first 200 on /health; returns the seconds it took."""
        home, environ = self.home, {**os.environ, "HOMEFIRE_HOME": str(self.home)}
        for name in ("HOMEFIRE_URL", "HOMEFIRE_API_KEY"):
            environ.pop(name, None)
        assignments = [part for setting in self._settings for part in ("--set", setting)]
        command = [sys.executable, "-m", "homefire", "--home", str(home), "up", "--port", "0", *assignments]
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        started_s = time.monotonic()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environ, start_new_session=True
            )
        while time.monotonic() - started_s < START_TIMEOUT_S:
            if self._process.poll() is not None:
                break
            if running_server(home) is not None:
                with self.client(timeout_s=5.0) as client:
                    if client.is_up():
                        return time.monotonic() - started_s
            time.sleep(_POLL_S)
        raise ServerUnreachable(
            f"The demo's server did not start: {self._stderr_tail()}",
            hint=f"Its log is {self.log}.",
            exit_code=self._process.poll(),
        )

    @property
    def pid(self) -> int:
        """The server's process id."""
        assert self._process is not None, "started"
        return self._process.pid

    @property
    def url(self) -> str:
        """Where it listens."""
        running = running_server(self.home)
        assert running is not None, "started"
        return running.url

    def client(self, *, timeout_s: float = 120.0) -> Client:
        """A new client of it."""
        return Client(Address(None, None, self.home, "demo"), timeout_s=timeout_s)

    def trainer_pid(self) -> int | None:
        """The process id of the trainer that works for this server now."""
        import psutil

        try:
            children = psutil.Process(self.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return None
        for child in children:
            try:
                if TRAINER_MODULE in child.cmdline():
                    return int(child.pid)
            except psutil.Error:
                continue
        return None

    def memory_bytes(self) -> int:
        """Resident memory of the server process alone."""
        import psutil

        return int(psutil.Process(self.pid).memory_info().rss)

    def stop(self) -> int:
        """Ask it to stop as Ctrl-C does; returns its exit code. After `STOP_TIMEOUT_S` it is killed."""
        process = self._process
        if process is None:
            return 0
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        return process.returncode

    def _stderr_tail(self) -> str:
        try:
            lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        except OSError:
            return "it left no log."
        return " / ".join(lines[-3:]) or "it said nothing."
