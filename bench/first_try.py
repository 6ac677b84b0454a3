"""Single corrections, each from the untouched ember: how many of their first versions pass the gate?

    python -m bench.first_try [--count 100] [--seed 0]

A fresh home; a correction, its first run to the end, back to ember, the next one. Private facts and the mixed ones
(`facts.py`, `mixed_corpus.py`), in an order by the seed. What was refused is printed with the gate's reasons: each is
either a version that really was worse, or noise.
"""

from __future__ import annotations

import argparse
import random
import tempfile
from pathlib import Path

from tests.support.server import running_server

from bench.client import live_model
from bench.facts import FACTS, many_facts
from bench.mixed_corpus import MIXED
from bench.mixed_corrections import wait_until_idle
from bench.results import record

COMMAND = "python -m bench.first_try --count {count}"
SETTINGS = {"training.quiet_s": "0", "gate.max_tries": "1"}


def main() -> None:
    """Measure and record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    pairs = [*FACTS, *MIXED, *many_facts(64)]
    random.Random(arguments.seed).shuffle(pairs)
    num_passed = 0
    with (
        tempfile.TemporaryDirectory() as folder,
        running_server(Path(folder) / "h", settings=SETTINGS) as server,
    ):
        for number, (question, answer) in enumerate(pairs[: arguments.count], start=1):
            server.post("/v1/corrections", {"prompt": question, "answer": answer})
            newest = max(wait_until_idle(server), key=lambda run: float(run["queued_at_s"]))
            num_passed += newest["promoted"]
            print(f"{number}: {newest['state']} {question!r} {newest['gate_reasons']}", flush=True)
            if live_model(server) != "ember":
                server.post("/v1/versions/rollback", {"to": "ember"})
    num = min(arguments.count, len(pairs))
    record(
        f"single corrections whose first version passes the gate, of {num}",
        num_passed / num,
        "ratio",
        reach=">= 0.97",
        better="higher",
        command=COMMAND.format(count=num),
        area="learning",
    )


if __name__ == "__main__":
    main()
