"""One correction, timed from Enter to the corrected answer, and where the time went.

    python -m bench.one_correction [--corrections 7] [--facts 20] [--set training.quiet_s=2]

On one home, one after the other and with a rest between them, as a person corrects: ask, send the correction, and ask
again until the answer is the corrected one, over the public API. Each next correction waits until the last run has
ended. The phases are what the run itself recorded. `--facts N` then gives N corrections at once on a fresh home.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
from tests.support.server import LiveServer, running_server

from bench.client import ask, correct, live_model, wait_for_run
from bench.facts import FACTS
from bench.results import record

COMMAND = "python -m bench.one_correction"
AREA = "learning"
REST_S = 3.0
"""Between two corrections; longer than the longest quiet time, so that each is a single one."""
ASK_EVERY_S = 0.05


def correct_once(server: LiveServer, question: str, answer: str, *, num_ended: int) -> dict[str, Any]:
    """Seconds from sending the correction to reading its answer, with the phases of its run."""
    turn = server.post("/v1/chat", {"message": question, "stream": False})
    began_s = time.perf_counter()
    server.post("/v1/feedback", {"turn_id": turn["turn_id"], "verdict": "correction", "text": answer})
    first = live_model(server)
    while live_model(server) == first:
        time.sleep(ASK_EVERY_S)
        if time.perf_counter() - began_s > 120:
            break
    got = ask(server, [{"role": "user", "content": question}])
    took_s = time.perf_counter() - began_s
    run = wait_for_run(server, num_ended=num_ended)
    return {
        "took_s": took_s,
        "is_right": got.strip() == answer,
        "state": run["state"],
        "steps": run["metrics"].get("steps"),
        "phase_s": run["metrics"].get("phase_s", {}),
        "waited_s": run["started_at_s"] - run["queued_at_s"],
        "tries": num_ended,
    }


def num_ended_runs(server: LiveServer) -> int:
    """Runs that are over."""
    ended = {"done", "refused", "failed", "skipped", "stopped"}
    return sum(run["state"] in ended for run in server.get("/v1/runs")["runs"])


def process_memory(server: LiveServer) -> dict[str, float]:
    """Resident MB of the server and of each of its children, by what they are."""
    own = psutil.Process(server.process.pid)
    found = {"server": own.memory_info().rss / 1e6}
    for child in own.children(recursive=True):
        name = next((part for part in child.cmdline() if part.startswith("homefire.")), "other")
        full = child.memory_full_info()
        found[name] = found.get(name, 0.0) + full.uss / 1e6
    return found


def one_by_one(folder: Path, num_corrections: int, settings: dict[str, str]) -> list[dict[str, Any]]:
    """Each correction alone, on one home."""
    seen = []
    with running_server(folder / "home", settings=settings) as server:
        ask(server, [{"role": "user", "content": "What is 3 + 4?"}])
        time.sleep(REST_S)
        for question, answer in FACTS[:num_corrections]:
            seen.append(correct_once(server, question, answer, num_ended=num_ended_runs(server) + 1))
            print(seen[-1], {name: round(mb) for name, mb in process_memory(server).items()}, flush=True)
            time.sleep(REST_S)
    return seen


def at_once(folder: Path, num_facts: int, settings: dict[str, str]) -> dict[str, Any]:
    """Many corrections, sent one right after the other."""
    with running_server(folder / "home", settings=settings) as server:
        ask(server, [{"role": "user", "content": "What is 3 + 4?"}])
        time.sleep(REST_S)
        began_s = time.perf_counter()
        for question, answer in FACTS[:num_facts]:
            correct(server, question, answer)
        given_s = time.perf_counter() - began_s
        run = wait_for_run(server, num_ended=1)
        took_s = time.perf_counter() - began_s
    return {
        "took_s": took_s,
        "given_s": given_s,
        "state": run["state"],
        "why": run["why"],
        "steps": run["metrics"].get("steps"),
        "phase_s": run["metrics"].get("phase_s", {}),
    }


def main() -> None:
    """Measure and record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corrections", type=int, default=7)
    parser.add_argument("--facts", type=int, default=20)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--no-record", action="store_true")
    options = parser.parse_args()
    settings = dict(pair.split("=", 1) for pair in options.set)
    with tempfile.TemporaryDirectory() as folder:
        singles = one_by_one(Path(folder), options.corrections, settings) if options.corrections else []
        many = at_once(Path(folder) / "many", options.facts, settings) if options.facts else None
    if many:
        print("at once:", many)
    if options.no_record:
        return
    if singles:
        took = [single["took_s"] for single in singles]
        phases = {
            name: round(statistics.median(single["phase_s"].get(name, 0.0) for single in singles), 2)
            for name in ("preparing", "training", "publishing", "gating", "promoting")
        }
        print("median phases:", phases)
        record("one correction: Enter to the corrected answer (median)", statistics.median(took), "s",
               reach="<= 5", better="lower", command=COMMAND, area=AREA)  # fmt: skip
        record("one correction: Enter to the corrected answer (worst)", max(took), "s",
               reach="reported", better="lower", command=COMMAND, area=AREA)  # fmt: skip
        record("one correction: everything except the training phase (median)",
               statistics.median(s["took_s"] - s["phase_s"].get("training", 0.0) for s in singles), "s",
               reach="reported", better="lower", command=COMMAND, area=AREA)  # fmt: skip
    if many:
        record(f"{options.facts} corrections at once: Enter to live", many["took_s"], "s",
               reach="<= 12", better="lower", command=COMMAND, area=AREA)  # fmt: skip


if __name__ == "__main__":
    main()
