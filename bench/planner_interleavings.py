"""Drives the serving planner with a million random events, faults included, and checks every promise after each.

    python -m bench.planner_interleavings [--events 1000000] [--processes 2] [--seed 0]

Each schedule is `EVENTS_EACH` random events (requests, ends, cancels, loads that succeed, fail or take more
than expected, unloads, crashes, swaps, pins, deadlines, training) and a drain, under one of several limits.
The books of `tests/serving/ledger.py` raise at the first request that is lost, passed too often or answered
twice, at the first byte over the budget, and at the first effect without an answer. Cost: about 50 µs of
processor per event.
"""

from __future__ import annotations

import argparse
import collections
import multiprocessing
import sys
import time

from tests.serving.ledger import GB, Ledger, play

from bench.results import record
from homefire.serving.planner import Planner

COMMAND = "python -m bench.planner_interleavings"
EVENTS_EACH = 1_000
REACH_S = 60.0
LIMITS = [(4, 1, 5), (6, 2, 0), (6, 3, 2), (9, 8, 5), (12, 2, 8), (5, 4, 1)]
"""Budget in GB, models, passes."""


def run_schedule(seed: int) -> collections.Counter[str]:
    """One schedule; how often what happened, and `broken` for one that broke a promise."""
    budget, max_models, max_passes = LIMITS[seed % len(LIMITS)]
    planner = Planner(budget_bytes=budget * GB, max_models=max_models, max_waiting=12, max_passes=max_passes)
    try:
        ledger: Ledger = play(planner, seed=seed, num_events=EVENTS_EACH)
    except (AssertionError, KeyError) as error:
        print(f"seed {seed}: {error!r}", file=sys.stderr)
        return collections.Counter(broken=1)
    return collections.Counter(
        {
            **ledger.num_refused,
            "events": ledger.num_events,
            "requests": ledger.num_tickets,
            "started": ledger.num_started,
            "loads": ledger.num_loads,
            "evictions": ledger.num_evictions,
            "swaps over the budget": ledger.num_over_budget,
            "training parked": ledger.num_parked,
        }
    )


def main() -> int:
    """1 when a promise was broken or the time was not reached."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    total: collections.Counter[str] = collections.Counter()
    batch = 10 * arguments.processes
    seed = arguments.seed
    started_s = time.perf_counter()
    with multiprocessing.get_context("spawn").Pool(arguments.processes) as pool:
        while total["events"] < arguments.events:
            for one in pool.imap_unordered(run_schedule, range(seed, seed + batch), chunksize=5):
                total += one
            seed += batch
            if total["broken"]:
                break
    elapsed_s = time.perf_counter() - started_s
    print(dict(total))
    record(
        "10⁶ random events of the serving planner with faults: lost, starved, over budget",
        total["broken"],
        "broken promises",
        reach="0",
        better="lower",
        command=COMMAND,
    )
    record(
        "10⁶ random events of the serving planner with faults: time, checks included (2 processes)",
        elapsed_s * 1_000_000 / max(total["events"], 1),
        "s",
        reach=f"<= {REACH_S:g}",
        better="lower",
        command=COMMAND,
    )
    return int(bool(total["broken"]) or elapsed_s > REACH_S)


if __name__ == "__main__":
    sys.exit(main())
