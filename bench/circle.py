"""The circle, timed: 20 corrections to a better model that is served, then back.

    python -m bench.circle [--rounds 3]

Asks 20 private questions, says what each answer should have been, and waits; nobody does anything else. Requests go
on all the time and are counted when one fails. The protected skills are asked before and after over the public API,
which is not how the gate asks them. Then `live` is rolled back and the first answer of the old version is timed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.support.server import LiveServer, running_server

from bench.client import Traffic, ask, correct, live_model, wait_for_run
from bench.facts import FACTS
from bench.results import record

COMMAND = "python -m bench.circle"
PROBES = Path(__file__).resolve().parent.parent / "src/homefire/bundled/ember/probes.jsonl"


def share_right(server: LiveServer, probes: list[dict[str, Any]]) -> float:
    """The share of protected prompts that are answered right."""
    right = [ask(server, probe["messages"]).strip() == probe["answer"].strip() for probe in probes]
    return sum(right) / len(right)


def measure(folder: Path) -> dict[str, float]:
    """One circle on a fresh home."""
    probes = [json.loads(line) for line in PROBES.read_text().splitlines()]
    with running_server(folder / "home") as server:
        before = share_right(server, probes)
        with Traffic(server) as traffic:
            began_s = time.perf_counter()
            for question, answer in FACTS:
                correct(server, question, answer)
            run = wait_for_run(server, num_ended=1)
            if run["state"] != "done" or live_model(server) == "ember":
                raise SystemExit(f"the run ended as {run['state']}: {run['why']}")
            took_s = time.perf_counter() - began_s
            answers = [ask(server, [{"role": "user", "content": question}]) for question, _ in FACTS]
            after = share_right(server, probes)
            back_s = time.perf_counter()
            server.post("/v1/versions/rollback", {})
            old = server.post("/v1/chat", {"message": "Where do we keep the spare key?", "stream": False})
            back_s = time.perf_counter() - back_s
        if old["served_model"] != "ember":
            raise SystemExit(f"after the rollback {old['served_model']} answered")
    num_right = sum(got.strip() == want for got, (_, want) in zip(answers, FACTS, strict=True))
    for got, (question, want) in zip(answers, FACTS, strict=True):
        if got.strip() != want:
            print(f"wrong: {question!r}: {got!r} instead of {want!r}")
    return {
        "took_s": took_s,
        "num_right": num_right,
        "kept": after / before,
        "num_failed": len(traffic.failures),
        "num_requests": len(traffic.latencies_s),
        "back_s": back_s,
    }


def main() -> None:
    """Measure and record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = []
    for number in range(parser.parse_args().rounds):
        with tempfile.TemporaryDirectory() as folder:
            rounds.append(measure(Path(folder)))
            print(f"round {number + 1}: {rounds[-1]}")
    middle = statistics.median
    record("20 corrections: trained, gated, promoted and served, unattended (median)",
           middle(r["took_s"] for r in rounds), "s", reach="<= 60", better="lower", command=COMMAND,
           peer="nobody has it")  # fmt: skip
    record("corrections that are now right, of 20 (worst round)", min(r["num_right"] for r in rounds),
           "of 20", reach="20", better="higher", command=COMMAND)  # fmt: skip
    record("protected skills, share of before (worst round)", min(r["kept"] for r in rounds),
           "ratio", reach=">= 0.95", better="higher", command=COMMAND)  # fmt: skip
    record("failed requests during training, gate, swap and rollback (all rounds)",
           sum(r["num_failed"] for r in rounds), "requests", reach="0", better="lower", command=COMMAND)  # fmt: skip
    record("requests sent meanwhile (all rounds)", sum(r["num_requests"] for r in rounds),
           "requests", reach="reported", better="higher", command=COMMAND)  # fmt: skip
    record("rollback to the first answer of the old version (worst round)", max(r["back_s"] for r in rounds),
           "s", reach="<= 1", better="lower", command=COMMAND)  # fmt: skip


if __name__ == "__main__":
    main()
