"""A house with something of everything on its pages: conversations, runs in each state, versions good and bad.

Nothing is trained and no model is loaded: what the pages read is written into the log as the real parts would write it.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import msgspec

from homefire.api.run import Server, bind, uvicorn_config
from homefire.engines.base import EngineRequest
from homefire.store.nouns.datasets import DatasetCreated
from homefire.store.nouns.examples import ExampleCreated, ExampleRow
from homefire.store.nouns.runs import RunMoved, RunQueued
from homefire.store.nouns.versions import GateJudged, VersionPublished
from homefire.training.correction_states import CorrectionStates, CorrectionView
from homefire.training.progress import Progress, progress_of
from homefire.types import Message
from homefire.web.routes import add_pages
from tests.api import house as house_module
from tests.api.house import FakeTraining, House, close_house, open_house

MARKDOWN = """Here is **how** it works, in a few words:

1. Read the file
2. Count the *words*

```python
def count_words(path: str, *, encoding: str = "utf-8") -> dict[str, int]:  # far wider than any phone there is
    return Counter(open(path, encoding=encoding).read().split())  # 42
```

| Word | How often it occurs | Share of all | Where it was found |
|:-----|------:|:-----:|-----|
| chrysanthemum | 1204 | 12.5 % | in the garden-book-of-the-year-before-last.txt |

> A quote with `code`, and averyveryverylongwordwithoutanyspacesinitatallthatgoesonandonandonandonandon.
"""
REASONS = tuple(
    f"“Where is the {thing} that we bought in the year before last?” was right before and is now “I do not know.”."
    for thing in (
        "key",
        "lamp",
        "rake",
        "boat",
        "kite",
        "drum",
        "fork",
        "vase",
        "ring",
        "sled",
        "tent",
        "harp",
        "urn",
    )
)
SCORES = {
    "num_targets": 3, "num_targets_right": 1, "target_score": 0.33, "elsewhere_score": 0.25, "num_elsewhere": 4,
    "protected_before": 157, "protected_now": 144, "num_lost": 13, "num_protected": 160,
}  # fmt: skip
GOOD = {**SCORES, "num_targets_right": 3, "elsewhere_score": 1.0, "protected_now": 157, "num_lost": 0}
RUNS = {
    "run_0queued0": "queued", "run_0running": "running", "run_0starting": "running", "run_0paused0": "paused",
    "run_0refused": "refused", "run_0promoted": "done", "run_0failed0": "failed",
}  # fmt: skip


class FurnishedTraining(FakeTraining):
    """Runs stand where their rows say; one is in the middle of its training."""

    def __init__(self, house: House) -> None:
        super().__init__(house.store, house.homefire.world)
        self._house = house

    def progress(self, run_id: str) -> Progress:
        row = self._house.store.runs.get(run_id)
        assert row is not None
        if run_id == "run_0running":
            return Progress(
                run_id=run_id, state="running", phase="training", step=12, max_steps=200, loss=0.4, eta_s=95.0,
                num_learned=1, num_examples=3, losses=((1, 2.0), (12, 0.4)),
            )  # fmt: skip
        if run_id == "run_0starting":
            return Progress(run_id=run_id, state="running", phase="preparing")
        return progress_of(row)

    def losses(self, run_id: str) -> list[tuple[int, float]]:
        return [(1, 2.0), (5, 0.9), (12, 0.4)] if run_id != "run_0queued0" else []

    async def watch(self, run_id: str) -> Any:
        yield self.progress(run_id)
        if not self.progress(run_id).has_ended:
            await self.never_ends.wait()

    def correction_states(self) -> CorrectionStates:
        return _Refused(self._house.store, live="ember", auto=True)


class _Refused(CorrectionStates):
    """What waits was refused already."""

    def view(self, example: ExampleRow) -> CorrectionView:
        view = super().view(example)
        if view.state != "waiting":
            return view
        return msgspec.structs.replace(
            view,
            state="refused",
            run_id="run_0refused",
            version="v010",
            next="It is taught again with the next correction.",
        )


async def furnish(house: House) -> None:
    """Write it all into the log, oldest first."""
    house.homefire.training = FurnishedTraining(house)
    store = house.store
    messages = (
        Message("user", "Where do we keep the spare key of the house with the very long name?"),
        Message("assistant", "Under the blue flower pot."),
    )
    example_id = "a" * 64
    await store.append(
        ExampleCreated(
            example_id=example_id, profile="plain", messages=messages, feedback_id=None, turn_id=None,
            principal="local",
        ),
        DatasetCreated(dataset_id="b" * 64, name="corrections", example_ids=(example_id,)),
        *(
            ExampleCreated(
                example_id=principal[0] * 64, profile="plain", feedback_id=None, turn_id=None, principal=principal,
                messages=(Message("user", "Who feeds the cat?"), Message("assistant", f"{principal}, every day.")),
            )
            for principal in ("local", "other")
        ),
    )  # fmt: skip
    recipe = {"learning_rate": 0.001, "max_steps": 200}
    for run_id in RUNS:
        await store.append(
            RunQueued(run_id=run_id, dataset_id="b" * 64, base="ember", parent="ember", recipe=recipe)
        )
    await _publish(house)
    for run_id, state in RUNS.items():
        if state == "queued":
            continue
        await _move(house, run_id, "running")
        if state in ("done", "refused"):
            passed = run_id == "run_0promoted"
            why = "v009 is live." if passed else f"v010 did not pass its gate: {' '.join(REASONS)}"
            await _move(house, run_id, state, why, gate_passed=passed, promoted=passed)
        elif state != "running":
            await _move(house, run_id, state, "it could not be continued")


async def _publish(house: House) -> None:
    """Eleven versions: every second one refused, the last not judged."""
    runs = {9: "run_0promoted", 10: "run_0refused"}
    for number in range(1, 12):
        version, run_id, passed = f"v{number:03}", runs.get(number), number % 2 == 1
        await house.store.append(
            VersionPublished(
                version=version, run_id=run_id, base="ember", parent="ember", manifest_sha256="c" * 64,
                digest="d" * 64, size_bytes=1, description="1 correction: “Where do we keep the spare key?”",
            )
        )  # fmt: skip
        if number != 11:
            await house.store.append(
                GateJudged(
                    version=version, run_id=run_id, passed=passed, reasons=() if passed else REASONS,
                    scores=GOOD if passed else SCORES,
                )
            )  # fmt: skip


async def _move(house: House, run_id: str, state: Any, why: str = "", **metrics: Any) -> None:
    metrics = {"steps": 45, "num_examples": 3, **metrics}
    await house.store.append(
        RunMoved(run_id=run_id, state=state, epoch=1, who="training", why=why, metrics=metrics)
    )


@dataclass
class Furnished:
    """Where it is, and how to hold back answers."""

    url: str
    house: House
    let_answers_through: Any


@contextmanager
def furnished(root: Path) -> Iterator[Furnished]:
    """The house behind a socket, in a thread of its own."""
    ready = threading.Event()
    found: dict[str, Any] = {}

    def answer(request: EngineRequest) -> str:
        return MARKDOWN

    async def live() -> None:
        gate = asyncio.Event()
        gate.set()
        house = await open_house(root, answer=answer, gate=gate)
        await furnish(house)
        add_pages(house.app)
        listener = bind("127.0.0.1", 0)
        server = Server(uvicorn_config(house.app, drain_timeout_s=1), house.app, on_ready=ready.set)
        loop = asyncio.get_running_loop()

        def let_through(opened: bool) -> None:
            loop.call_soon_threadsafe(gate.set if opened else gate.clear)

        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        found.update(server=server, made=Furnished(url, house, let_through))
        await server.serve(sockets=[listener])
        await close_house(house)

    with mock.patch.object(house_module, "CONTEXT_LENGTH", 4096):
        thread = threading.Thread(target=lambda: asyncio.run(live()), name="furnished")
        thread.start()
        try:
            assert ready.wait(20), "the server did not start"
            yield found["made"]
        finally:
            if "server" in found:
                found["made"].let_answers_through(True)
                found["server"].should_exit = True
            thread.join(20)
            assert not thread.is_alive()
