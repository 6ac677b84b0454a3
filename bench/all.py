"""Runs every benchmark, one after the other. Run with `make bench`."""

from __future__ import annotations

import subprocess
import sys

PROGRAMS = (
    "bench.server_start",
    "bench.gateway_cpu",
    "bench.planner_interleavings",
    "bench.hostile_requests",
    "bench.client_corpus",
    "bench.stream_reloads",
    "bench.pages",
    "bench.rebuild",
    "bench.store_databases",
    "bench.circle",
    "bench.beside_training",
    "bench.exact_resume",
    "bench.gate_regressions",
    "bench.mixed_corrections",
    "bench.first_try",
    "bench.clean_checkout",
)


def main() -> int:
    """The number of programs that failed."""
    failed = [name for name in PROGRAMS if subprocess.run([sys.executable, "-m", name]).returncode]
    for name in failed:
        print(f"failed: {name}", file=sys.stderr)
    return len(failed)


if __name__ == "__main__":
    sys.exit(main())
