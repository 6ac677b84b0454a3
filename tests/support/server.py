"""A real server in a process of its own, on a temporary home: what end-to-end tests talk to."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@dataclass
class LiveServer:
    """A running `homefire up`."""

    process: subprocess.Popen[bytes]
    home: Path
    port: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def get(self, path: str) -> Any:
        """The JSON answer of a GET."""
        with urllib.request.urlopen(self.url + path, timeout=30) as answer:
            return json.load(answer)

    def post(self, path: str, body: Any = None) -> Any:
        """The JSON answer of a POST."""
        data = json.dumps({} if body is None else body).encode()
        request = urllib.request.Request(self.url + path, data, {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.load(answer)

    def wait_until_healthy(self, timeout_s: float = 60) -> None:
        """Return at the first 200 of /health; fail with the log when the process ends before."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise AssertionError(
                    f"the server ended with {self.process.returncode}:\n{self.log.read_text()}"
                )
            try:
                urllib.request.urlopen(self.url + "/health", timeout=5).close()
                return
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.02)
        raise AssertionError(f"no answer from /health after {timeout_s} s:\n{self.log.read_text()}")

    def stop(self, with_signal: int = signal.SIGTERM, timeout_s: float = 30) -> int:
        """End this very process and say how it ended."""
        if self.process.poll() is None:
            self.process.send_signal(with_signal)
        return self.process.wait(timeout_s)


def start_server(
    home: Path,
    *,
    port: int | None = None,
    environ: Mapping[str, str] | None = None,
    settings: Mapping[str, str] | None = None,
    program: Sequence[str] = (sys.executable, "-m", "homefire"),
) -> LiveServer:
    """Start `homefire up` (with `--set` for each of `settings`) and wait until it is healthy."""
    port = port or free_port()
    home.mkdir(parents=True, exist_ok=True)
    log = home.parent / f"{home.name}-server.log"
    env = {**os.environ, **(environ or {}), "HOMEFIRE_HOME": str(home)}
    command = [*program, "up", "--port", str(port)]
    for key, value in (settings or {}).items():
        command += ["--set", f"{key}={value}"]
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=env)
    server = LiveServer(process, home, port, log)
    try:
        server.wait_until_healthy()
    except BaseException:
        process.kill()
        process.wait()
        raise
    return server


@contextmanager
def running_server(home: Path, **options: Any) -> Iterator[LiveServer]:
    """A server for the length of a `with` block."""
    server = start_server(home, **options)
    try:
        yield server
    finally:
        server.stop()
