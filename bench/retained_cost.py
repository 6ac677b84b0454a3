"""What it costs, while a run learns, to look after the corrections that were learned before.

    python -m bench.retained_cost [--retained 2000] [--new 20]

One run on the bundled model, in this process. Counted are tokens that pass forward through the model (a training
token counts three times, forward and backward), so the figure does not depend on what else the machine does; seconds
of processor time are printed beside it. The parent knows none of the earlier corrections, which is the dearest case:
whatever a check finds wrong is asked of the parent too. The peer is the same run with every earlier correction in
every check, counted from the same steps. Cost: about a minute of processor time.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from tests.support.trainer import make_run, row

from bench.results import record
from homefire.trainer import checks, margins, trainer
from homefire.trainer.batch import MicroBatch
from homefire.trainer.control import Control
from homefire.trainer.margins import NUM_BISECTIONS
from homefire.trainer.recipe import Recipe
from homefire.trainer.trainer import Trainer
from homefire.world import World

COMMAND = "python -m bench.retained_cost"
REACH = "<= 0.15 at 2,000 retained"


class Costs:
    """Forward tokens and processor seconds of a run, by what they were spent on."""

    def __init__(self, num_new: int, num_retained: int) -> None:
        self.tokens: Counter[str] = Counter()
        self.cpu_s: Counter[str] = Counter()
        self.num_checks = 0
        self._retained = range(num_new, num_new + num_retained)

    def train_step(self, real: Callable[..., Any]) -> Callable[..., Any]:
        """The step, counted."""

        def counted(model: Any, optimizer: Any, batch: tuple[MicroBatch, ...], **options: Any) -> Any:
            for part in batch:
                is_replay = torch.zeros_like(part.wanted)
                is_replay[part.wanted] = part.is_replay
                num_compared = int(is_replay.any(dim=1).sum())
                self.tokens["training"] += 3 * part.ids.numel() + num_compared * part.ids.shape[1]
            return self._timed("training", lambda: real(model, optimizer, batch, **options))

        return counted

    def measure_margins(self, real: Callable[..., Any]) -> Callable[..., Any]:
        """The measurement, counted by whose rows are measured."""

        def counted(model: Any, batch: Iterable[MicroBatch], **options: Any) -> Any:
            return self._timed("checks", lambda: real(model, self._consumed(batch), **options))

        return counted

    def _consumed(self, batch: Iterable[MicroBatch]) -> Iterator[MicroBatch]:
        for part in batch:
            width = part.ids.shape[1]
            rows = part.wanted.nonzero()[:, 0]
            owner_of = dict(zip(rows.tolist(), part.owners.tolist(), strict=True))
            num_retained = sum(owner in self._retained for owner in owner_of.values())
            self.tokens["checks of earlier corrections"] += num_retained * width
            self.tokens["checks of new examples"] += (len(part.ids) - num_retained) * width
            yield part

    def run_check(self, real: Callable[..., Any]) -> Callable[..., Any]:
        """The check, counted as one."""

        def counted(this: Any, step: int) -> Any:
            self.num_checks += 1
            return real(this, step)

        return counted

    def _timed(self, kind: str, work: Callable[[], Any]) -> Any:
        started_s = time.process_time()
        try:
            return work()
        finally:
            self.cpu_s[kind] += time.process_time() - started_s


def measure(num_new: int, num_retained: int, run_dir: Path) -> tuple[Costs, float]:
    """The costs of one run, and the tokens that all of its earlier corrections take in one check."""
    facts = [
        row(f"Where is item {n} of the house?", f"In drawer {n * 7} downstairs.", f"new-{n}")
        for n in range(num_new)
    ]
    retained = [
        row(f"Which box holds thing {n}?", f"Box {n * 3} in the attic.", f"old-{n}")
        for n in range(num_retained)
    ]
    spec = make_run(
        run_dir, recipe=Recipe(mode="full"), rows=facts, retained=retained, checkpoint_every_steps=1000
    )
    costs = Costs(num_new, num_retained)
    vars(trainer)["train_step"] = costs.train_step(trainer.train_step)
    counted = costs.measure_margins(margins.measure_margins)
    vars(checks)["measure_margins"] = vars(margins)["measure_margins"] = counted
    checks.Checks.run = costs.run_check(checks.Checks.run)  # type: ignore[method-assign]
    torch.set_num_threads(1)
    with Path(os.devnull).open("wb") as nowhere:
        work = Trainer(spec, run_dir, control=Control(0, nowhere), world=World(), started_s=time.monotonic())
        work.work()
    _, everything = work._data.check_batch("retained", range(num_retained))
    return costs, float(sum(part.ids.numel() for part in everything))


def main() -> None:
    """Measure, print, record."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--retained", type=int, default=2000)
    parser.add_argument("--new", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        costs, tokens_of_all = measure(options.new, options.retained, Path(folder))
    total = sum(costs.tokens.values())
    kept = costs.tokens["checks of earlier corrections"]
    everything = tokens_of_all * (costs.num_checks + NUM_BISECTIONS + 2)
    for kind, num_tokens in costs.tokens.most_common():
        print(f"{kind:32} {num_tokens:12,} forward tokens  {num_tokens / total:6.1%}")
    print(f"{costs.num_checks} checks; CPU seconds: {dict(costs.cpu_s)}")
    record(
        f"share of a run's forward tokens spent on checks of {options.retained} earlier corrections",
        kept / total,
        "share",
        reach=REACH,
        better="lower",
        peer="every earlier correction in every check",
        peer_value=everything / (total - kept + everything),
        command=COMMAND,
        area="learning",
    )


if __name__ == "__main__":
    main()
