"""What a training run costs the person who chats: latency idle and beside a run, in turns.

    python -m bench.beside_training [--rounds 3] [--seconds 12]

The run is paused and resumed, so that idle and busy stretches lie next to each other in time. The peer is the same
server the usual way: default thread counts for both processes and no niceness.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from tests.support.server import LiveServer, running_server

from bench.client import Traffic, ask, correct
from bench.facts import many_facts
from bench.results import record

COMMAND = "python -m bench.beside_training"
LONG = {"HOMEFIRE_TRAINING__MAX_STEPS": "100000", "HOMEFIRE_TRAINING__QUIET_S": "0.5"}
USUAL = {
    "HOMEFIRE_SERVING__NUM_THREADS": "2",
    "HOMEFIRE_TRAINING__NUM_THREADS": "2",
    "HOMEFIRE_TRAINING__NICE": "0",
}


def percentile(values: list[float], share: float) -> float:
    """The value below which `share` of all lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def listen(server: LiveServer, seconds: float) -> list[float]:
    """Latencies of questions asked for so long."""
    with Traffic(server, pause_s=0.01) as traffic:
        time.sleep(seconds)
    if traffic.failures:
        raise SystemExit(f"requests failed: {traffic.failures[:3]}")
    return traffic.latencies_s


def wait_for_step(server: LiveServer, run_id: str) -> None:
    """Return when the run makes steps."""
    for _ in range(2400):
        progress = server.get(f"/v1/runs/{run_id}").get("progress") or {}
        if progress.get("phase") == "training" and progress.get("step", 0) > 0:
            return
        time.sleep(0.05)
    raise SystemExit("the run made no step")


def measure(folder: Path, environ: dict[str, str], *, rounds: int, seconds: float) -> tuple[float, float]:
    """Ratios of p50 and p99, beside training over idle."""
    idle: list[float] = []
    busy: list[float] = []
    with running_server(folder / "home", environ={**LONG, **environ}) as server:
        ask(server, [{"role": "user", "content": "Hello"}])
        idle += listen(server, seconds)
        for question, answer in many_facts(64):
            correct(server, question, answer)
        while not (runs := server.get("/v1/runs")["runs"]):
            time.sleep(0.05)
        run_id = runs[0]["run_id"]
        for number in range(rounds):
            wait_for_step(server, run_id)
            busy += listen(server, seconds)
            server.post(f"/v1/runs/{run_id}/pause")
            while server.get(f"/v1/runs/{run_id}")["state"] != "paused":
                time.sleep(0.05)
            idle += listen(server, seconds)
            if number + 1 < rounds:
                server.post(f"/v1/runs/{run_id}/resume")
        server.post(f"/v1/runs/{run_id}/stop")
    print(
        f"idle: n {len(idle)}, p50 {statistics.median(idle) * 1e3:.2f} ms, p99 {percentile(idle, 0.99) * 1e3:.2f} ms"
    )
    print(
        f"busy: n {len(busy)}, p50 {statistics.median(busy) * 1e3:.2f} ms, p99 {percentile(busy, 0.99) * 1e3:.2f} ms"
    )
    return statistics.median(busy) / statistics.median(idle), percentile(busy, 0.99) / percentile(idle, 0.99)


def main() -> None:
    """Measure and record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=12)
    arguments = parser.parse_args()
    shape = {"rounds": arguments.rounds, "seconds": arguments.seconds}
    with tempfile.TemporaryDirectory() as folder:
        p50, p99 = measure(Path(folder), {}, **shape)
    with tempfile.TemporaryDirectory() as folder:
        usual_p50, usual_p99 = measure(Path(folder), USUAL, **shape)
    peer = "the same with default threads and no niceness"
    record("interactive p50 beside a run, over idle", p50, "ratio", reach="<= 1.15", better="lower",
           command=COMMAND, peer=peer, peer_value=usual_p50)  # fmt: skip
    record("interactive p99 beside a run, over idle", p99, "ratio", reach="<= 1.5", better="lower",
           command=COMMAND, peer=peer, peer_value=usual_p99)  # fmt: skip


if __name__ == "__main__":
    main()
