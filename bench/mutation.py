"""How many of the changes in our code a test notices: rows from the reports of `make mutate`.

Measuring takes hours, so it is a step of its own: `make mutate ARGS="versions --sample 3 --json versions.json"`, then
`python -m bench.mutation versions.json`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tools.mutation.slices import Slices

from bench.results import record

ROOT = Path(__file__).resolve().parents[1]


def main(paths: list[str]) -> None:
    """One row for each slice of each report."""
    whole = {one.name: one.modules for one in Slices.load(ROOT).slices}
    for path in paths:
        for name, measured in json.loads(Path(path).read_text()).items():
            modules = [module["module"] for module in measured["modules"]]
            asked = name if len(modules) == len(whole[name]) else " ".join(modules)
            part = f"{len(modules)} of {len(whole[name])} modules, {measured['num_counted']} mutants"
            record(
                f"mutation score of {name} ({part})",
                measured["score_percent"],
                "%",
                reach="≥ 85",
                better="higher",
                command=f'make mutate ARGS="{asked} --sample {measured["sample"]}"',
                area="keeping",
            )


if __name__ == "__main__":
    main(sys.argv[1:])
