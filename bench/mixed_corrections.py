"""Twenty-six corrections of many forms at once: how many are live in the end, and whether the rest is named.

    python -m bench.mixed_corrections

Long texts, code, JSON, lists, Portuguese, Japanese, Arabic, emoji (`mixed_corpus.py`), given to a fresh home in one go;
nobody does anything else until no run is left. Then each question is asked over the public API, and each correction
that is not live must have a sentence that says why.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from tests.support.server import LiveServer, running_server

from bench.client import ask, correct, live_model
from bench.mixed_corpus import MIXED
from bench.results import record

COMMAND = "python -m bench.mixed_corrections"
OPEN = ("queued", "running", "paused")
TIMEOUT_S = 3600.0


def wait_until_idle(server: LiveServer) -> list[dict[str, Any]]:
    """All runs, when none is left."""
    deadline_s = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline_s:
        runs: list[dict[str, Any]] = server.get("/v1/runs")["runs"]
        is_open = any(run["state"] in OPEN for run in runs)
        if runs and not is_open and not server.get("/v1/queue")["num_pending_examples"]:
            return runs
        time.sleep(0.5)
    raise SystemExit(f"runs are left after {TIMEOUT_S:.0f} s")


def main() -> None:
    """Measure and record."""
    with tempfile.TemporaryDirectory() as folder, running_server(Path(folder) / "home") as server:
        began_s = time.perf_counter()
        for question, answer in MIXED:
            correct(server, question, answer)
        runs = wait_until_idle(server)
        took_s = time.perf_counter() - began_s
        for run in reversed(runs):
            report = run["gate_report"]
            print(f"{run['state']} {run['version']}: {report['outcome'] if report else run['why']}")
            for reason in run["gate_reasons"]:
                print(f"    {reason}")
        answers = {
            question: ask(server, [{"role": "user", "content": question}], max_tokens=512)
            for question, _ in MIXED
        }
        rows = server.get("/v1/corrections?limit=200")["corrections"]
        print(f"{live_model(server)} is live after {len(runs)} runs and {took_s:.0f} s")
    num_right = sum(answers[question].strip() == answer for question, answer in MIXED)
    unlearned = [row for row in rows if not row["live"]]
    for row in unlearned:
        print(f"not live: {row['question']!r}: {row['why']} {row['helps']}")
    record("26 mixed corrections at once: right in the end", num_right, "of 26",
           reach="every learnable one", better="higher", command=COMMAND, area="learning")  # fmt: skip
    record("26 mixed corrections at once: not live without a reason", sum(not row["why"] for row in unlearned),
           "corrections", reach="0", better="lower", command=COMMAND, area="learning")  # fmt: skip
    record("26 mixed corrections at once: runs it took", len(runs), "runs", reach="reported",
           better="lower", command=COMMAND, area="learning")  # fmt: skip


if __name__ == "__main__":
    main()
