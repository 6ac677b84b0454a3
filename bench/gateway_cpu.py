"""What the gateway itself costs: processor time of the server per chat request, the engine answering at once.

    python -m bench.gateway_cpu [--requests 4000] [--rounds 5] [--peer]

Ours does what it always does: checks the key, routes, schedules, records the turn durably (SHA-256 chain, fsync),
counts metrics. The peer, LiteLLM's proxy with one worker and a master key, records nothing; its upstream is a
process of its own whose time is not counted. User and system time of the serving process are read before and after
each batch; batches of both alternate.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
from tests.support.server import free_port

from bench.peers import LITELLM_CONFIG, LITELLM_KEY, litellm_binary
from bench.results import record

COMMAND = "python -m bench.gateway_cpu"
ANSWER = {
    "id": "x", "object": "chat.completion", "created": 0, "model": "default",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Seven."}}],
    "usage": {"prompt_tokens": 12, "completion_tokens": 10, "total_tokens": 22},
}  # fmt: skip


class Upstream(BaseHTTPRequestHandler):
    """Answers every chat at once, for the peer."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """One canned completion."""
        self.rfile.read(int(self.headers["content-length"]))
        body = json.dumps(ANSWER).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def wait_for(port: int, path: str, process: subprocess.Popen[bytes]) -> None:
    """Return at the first answer."""
    while process.poll() is None:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", path)
            if connection.getresponse().status == 200:
                return
        except OSError:
            time.sleep(0.05)
    raise SystemExit(f"the server on port {port} ended with {process.returncode}")


def batch(port: int, key: str, num_requests: int, pid: int) -> tuple[float, float]:
    """Milliseconds of processor time and of wall time per request, over one kept-alive connection."""
    process = psutil.Process(pid)
    headers = {"content-type": "application/json", "authorization": f"Bearer {key}"}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    before = process.cpu_times()
    began_s = time.perf_counter()
    for number in range(num_requests):
        body = {"model": "default", "messages": [{"role": "user", "content": f"What is {number} + 4?"}]}
        connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
        answer = connection.getresponse()
        data = answer.read()
        if answer.status != 200:
            raise SystemExit(f"{answer.status}: {data[:300]!r}")
    wall_s = time.perf_counter() - began_s
    after = process.cpu_times()
    cpu_s = after.user + after.system - before.user - before.system
    return cpu_s * 1e3 / num_requests, wall_s * 1e3 / num_requests


def main() -> None:
    """Measure and record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peer", action="store_true")
    arguments = parser.parse_args()
    own: list[tuple[float, float]] = []
    peer: list[tuple[float, float]] = []
    processes: list[subprocess.Popen[bytes]] = []
    with tempfile.TemporaryDirectory() as folder:
        home, port, peer_port = Path(folder) / "home", free_port(), free_port()
        environ = {**os.environ, "HOMEFIRE_HOME": str(home)}
        try:
            ours = subprocess.Popen(
                [sys.executable, "-m", "bench.instant_server", str(home), str(port)], env=environ
            )
            processes.append(ours)
            wait_for(port, "/health", ours)
            key = (home / "credentials" / "api_key").read_text().strip()
            if arguments.peer:
                upstream = ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
                threading.Thread(target=upstream.serve_forever, daemon=True).start()
                config = Path(folder) / "litellm.yaml"
                config.write_text(LITELLM_CONFIG.format(upstream=f"http://127.0.0.1:{upstream.server_port}"))
                command = [
                    litellm_binary(),
                    "--config",
                    config,
                    "--port",
                    str(peer_port),
                    "--host",
                    "127.0.0.1",
                ]
                theirs = subprocess.Popen(
                    command, env={**environ, "LITELLM_MODE": "PRODUCTION"}, stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )  # fmt: skip
                processes.append(theirs)
                wait_for(peer_port, "/health/liveliness", theirs)
            batch(port, key, 300, ours.pid)
            for _ in range(arguments.rounds):
                own.append(batch(port, key, arguments.requests, ours.pid))
                if arguments.peer:
                    peer.append(batch(peer_port, LITELLM_KEY, max(100, arguments.requests // 20), theirs.pid))
                print(own[-1], peer[-1] if peer else "")
        finally:
            for process in processes:
                process.terminate()
                process.wait()
    record(
        "gateway processor time per chat request, recorded durably (median)",
        statistics.median(cpu for cpu, _ in own),
        "ms",
        reach="<= 0.7",
        better="lower",
        command=f"{COMMAND} --peer" if peer else COMMAND,
        peer="LiteLLM proxy, one worker, recording nothing" if peer else None,
        peer_value=statistics.median(cpu for cpu, _ in peer) if peer else None,
    )


if __name__ == "__main__":
    main()
