"""How long from `homefire up` to the first 200 of /health, and how much memory the idle server holds.

    python -m bench.server_start [--rounds 7] [--peer]

Both are of the server alone: no engine worker is asked for. The home exists already (a first start also makes a
key and registers the bundled model; it is measured apart). With `--peer`, LiteLLM's proxy is started in turns with
ours, from an environment of its own.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import psutil
from tests.support.server import free_port

from bench.peers import LITELLM_CONFIG, litellm_binary
from bench.results import record

COMMAND = "python -m bench.server_start"


def start(command: Callable[[int], list[str]], environ: dict[str, str], path: str) -> tuple[float, float]:
    """Seconds to the first 200, and resident megabytes of the server process two seconds later."""
    port = free_port()
    began_s = time.perf_counter()
    process = subprocess.Popen(
        command(port), env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=1).close()
                break
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                if process.poll() is not None:
                    raise SystemExit(f"{command(port)} ended with {process.returncode}") from None
                time.sleep(0.002)
        took_s = time.perf_counter() - began_s
        time.sleep(2)
        return took_s, psutil.Process(process.pid).memory_info().rss / 1e6
    finally:
        process.terminate()
        process.wait()


def main() -> None:
    """Measure and record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--peer", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        environ = {**os.environ, "HOMEFIRE_HOME": f"{folder}/home"}

        def ours(port: int) -> list[str]:
            return [sys.executable, "-m", "homefire", "up", "--port", str(port)]

        first_s, _ = start(ours, environ, "/health")
        config = Path(folder) / "litellm.yaml"
        config.write_text(LITELLM_CONFIG.format(upstream="http://127.0.0.1:9"))
        own: list[tuple[float, float]] = []
        peer: list[tuple[float, float]] = []
        for _ in range(arguments.rounds):
            own.append(start(ours, environ, "/health"))
            if arguments.peer:
                binary = litellm_binary()

                def theirs(port: int, binary: Path = binary) -> list[str]:
                    return [str(binary), "--config", str(config), "--port", str(port), "--host", "127.0.0.1"]

                if len(peer) < 3:
                    peer.append(
                        start(theirs, {**environ, "LITELLM_MODE": "PRODUCTION"}, "/health/liveliness")
                    )
    middle = statistics.median
    name = "LiteLLM proxy, one worker" if peer else None
    record(
        "server start to first 200 on /health (median)",
        middle(took for took, _ in own),
        "s",
        reach="<= 0.7",
        better="lower",
        command=f"{COMMAND} --peer" if peer else COMMAND,
        peer=name,
        peer_value=middle(took for took, _ in peer) if peer else None,
    )
    record(
        "first start of a new home to first 200",
        first_s,
        "s",
        reach="reported",
        better="lower",
        command=f"{COMMAND} --peer" if peer else COMMAND,
    )
    record(
        "idle resident memory of the server, no engine worker (median)",
        middle(held for _, held in own),
        "MB",
        reach="<= 70",
        better="lower",
        command=f"{COMMAND} --peer" if peer else COMMAND,
        peer=name,
        peer_value=middle(held for _, held in peer) if peer else None,
    )


if __name__ == "__main__":
    main()
