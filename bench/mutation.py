"""How many of the changes in our code a test notices: rows from the report of `make mutate`.

Measuring takes hours, so it is a step of its own: `make mutate ARGS="versions --sample 10 --json versions.json"`, then
`python -m bench.mutation versions.json`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from bench.results import record


def main(paths: list[str]) -> None:
    """One row for each slice of each report."""
    for path in paths:
        for name, measured in json.loads(Path(path).read_text()).items():
            record(
                f"mutation score of {name}: changes that a test notices, sample of {measured['sample']} a module",
                measured["score_percent"],
                "%",
                reach="≥ 85",
                better="higher",
                command=f'make mutate ARGS="{name} --sample {measured["sample"]}"',
                area="keeping",
            )


if __name__ == "__main__":
    main(sys.argv[1:])
