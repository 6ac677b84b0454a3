"""`make mutate ARGS="versions"`: change the code in a sample of ways, and say which changes no test notices.

Names a slice or a module (`versions/gate`); none means all of them, which takes hours. Exit code 1: a slice is
below 85 %, an entry of the list of accepted survivors is stale, or the tests of a module fail without any change.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from tools.mutation.accepted import Accepted, load_accepted, stale
from tools.mutation.mutants import Mutant, find_mutants, sample
from tools.mutation.runner import PASSED, Run, Runner, copied_checkout
from tools.mutation.slices import SOURCE, Slice, Slices

CHECKOUT = Path(__file__).resolve().parents[2]
SAMPLE = 25
REACH_PERCENT = 85.0
BASELINE_LIMIT_S = 900.0
SLACK_S = 15.0
SLOWER = 4
"""A mutant may take this many times what its tests take without one, and SLACK_S; then it counts as caught."""


@dataclass(slots=True)
class ModuleResult:
    """What became of the sampled mutants of one module."""

    module: str
    tests: list[str]
    num_mutants: int
    caught: list[tuple[Mutant, Run]] = field(default_factory=list)
    survived: list[Mutant] = field(default_factory=list)
    accepted: list[Mutant] = field(default_factory=list)
    stale: list[Accepted] = field(default_factory=list)
    is_broken: bool = False
    """Its tests fail as the code is: nothing was measured."""

    @property
    def num_counted(self) -> int:
        """The denominator of the score: accepted survivors are not in it."""
        return len(self.caught) + len(self.survived)


def main(arguments: Sequence[str] | None = None, *, root: Path = CHECKOUT) -> int:
    """Measure the slices of a checkout that are named; returns the exit code."""
    parser = argparse.ArgumentParser(prog="make mutate", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="SLICE|MODULE")
    parser.add_argument(
        "--sample", type=int, default=SAMPLE, metavar="N", help=f"mutants a module ({SAMPLE})"
    )
    parser.add_argument("--all", action="store_true", help="every mutant of each module")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every result to a file")
    parser.add_argument("--list", action="store_true", help="only say what would be run")
    options = parser.parse_args(arguments)
    console = Console(soft_wrap=True, width=None if sys.stdout.isatty() else 120)
    try:
        slices = Slices.load(root)
        chosen = slices.chosen(options.names)
        accepted = load_accepted(root)
    except ValueError as error:
        console.print(str(error), markup=False)
        return 2
    size = None if options.all else options.sample
    if options.list:
        for module in (module for one in chosen for module in one.modules):
            console.print(f"{module}: {', '.join(slices.tests_of(module))}", markup=False)
        return 0
    results: dict[str, list[ModuleResult]] = {}
    with copied_checkout(root) as runner:
        for one in chosen:
            for result in _measure(one, slices, runner, accepted=accepted, size=size, console=console):
                results.setdefault(one.name, []).append(result)
                if options.json:  # after each module: what was measured is not lost when the rest is stopped
                    options.json.write_text(
                        json.dumps(_as_json(results, size), indent=1, ensure_ascii=False) + "\n"
                    )
    _print_table(results, console)
    return 0 if all(_is_good(modules) for modules in results.values()) else 1


def _measure(
    one: Slice,
    slices: Slices,
    runner: Runner,
    *,
    accepted: list[Accepted],
    size: int | None,
    console: Console,
) -> Iterator[ModuleResult]:
    """Run a sample of each module's mutants, and print each survivor when it is found."""
    baselines: dict[tuple[str, ...], float] = {}
    for module in one.modules:
        file = SOURCE / f"{module}.py"
        mutants = find_mutants(slices.root / file, module=module)
        tests = slices.tests_of(module)
        result = ModuleResult(module, tests, len(mutants))
        entries = [entry for entry in accepted if entry.module == module]
        result.stale += stale(entries, mutants)
        chosen = sample(mutants, size)
        if chosen and tuple(tests) not in baselines:
            runner.run(
                [*tests, "--collect-only"], limit_s=BASELINE_LIMIT_S
            )  # imports what the next ones need
            baseline = runner.run(tests, limit_s=BASELINE_LIMIT_S)
            if baseline.code != PASSED:
                console.print(
                    f"The tests of {module} fail without any mutant:\n{baseline.output[-3000:]}", markup=False
                )
                result.is_broken, chosen = True, []
            baselines[tuple(tests)] = baseline.seconds
        for mutant in chosen:
            with runner.changed(file, mutant.render()):
                run = runner.run(tests, limit_s=SLACK_S + SLOWER * baselines[tuple(tests)])
            entry = next((entry for entry in entries if entry.matches(mutant)), None)
            if run.code == PASSED and entry is None:
                result.survived.append(mutant)
                console.print(f"survived: {mutant.place}\n{mutant.diff()}\n", markup=False)
            elif run.code == PASSED:
                result.accepted.append(mutant)
            else:  # a test failed, nothing could be imported, the interpreter crashed, or the time was over
                result.caught.append((mutant, run))
                result.stale += [entry] if entry else []
        for entry in result.stale:
            console.print(f"stale in the list of accepted survivors: {entry}", markup=False)
        score = f"{len(result.caught)} of {result.num_counted} caught"
        console.print(
            f"{module}: {score}, {len(result.accepted)} accepted, {len(mutants)} mutants in all", markup=False
        )
        yield result


def _score(modules: list[ModuleResult]) -> float:
    counted = sum(module.num_counted for module in modules)
    return 100.0 * sum(len(module.caught) for module in modules) / counted if counted else 100.0


def _is_good(modules: list[ModuleResult]) -> bool:
    return _score(modules) >= REACH_PERCENT and not any(
        module.stale or module.is_broken for module in modules
    )


def _print_table(results: dict[str, list[ModuleResult]], console: Console) -> None:
    table = Table("module", "mutants", "sample", "caught", "survived", "accepted", "stale", "score %")
    for name, modules in results.items():
        for row in modules:
            _add_row(table, row.module, [row])
        _add_row(table, f"all of {name}", modules)
        table.add_section()
    console.print(table)


def _add_row(table: Table, name: str, rows: list[ModuleResult]) -> None:
    parts = [
        sum(row.num_mutants for row in rows),
        sum(row.num_counted + len(row.accepted) for row in rows),
        *(
            sum(len(getattr(row, part)) for row in rows)
            for part in ("caught", "survived", "accepted", "stale")
        ),
    ]
    table.add_row(name, *(str(part) for part in parts), f"{_score(rows):.1f}")


def _as_json(results: dict[str, list[ModuleResult]], size: int | None) -> dict[str, Any]:
    """Scores of the slices and, for each module, every mutant with what caught it or its diff."""
    return {
        name: {
            "sample": "all" if size is None else size,
            "score_percent": round(_score(modules), 1),
            "num_counted": sum(module.num_counted for module in modules),
            "modules": [
                {
                    "module": module.module,
                    "tests": module.tests,
                    "num_mutants": module.num_mutants,
                    "caught": [
                        {**_names(one), "by": run.first_failure or ("time" if run.code is None else "import")}
                        for one, run in module.caught
                    ],
                    "survived": [{**_names(one), "diff": one.diff()} for one in module.survived],
                    "accepted": [_names(one) for one in module.accepted],
                }
                for module in modules
            ],
        }
        for name, modules in results.items()
    }


def _names(mutant: Mutant) -> dict[str, str]:
    return {"place": mutant.place, "line": mutant.line, "before": mutant.before, "after": mutant.after}


if __name__ == "__main__":
    sys.exit(main())
