"""Proofs of `[training]` and `[gate]`: the real daemon with another program in the trainer's place."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from homefire.catalog.models import ModelInfo
from homefire.engines.base import FolderSource, ModelSpec
from homefire.store.nouns.examples import ExampleRow
from homefire.trainer.contract import read_spec
from homefire.training.evaluation import GateEvaluator
from homefire.training.preparation import Parents
from homefire.types import Message
from homefire.versions.asking import AnswerCache
from homefire.versions.variants import neighbours
from tests.proofs.bench import Bench, sees
from tests.support.model_info import model_info
from tests.support.scripted_engine import scripted_spec
from tests.support.small_models import EngineRoom, write_model
from tests.support.small_training import small_training
from tests.support.stand_in import STAND_IN

# training


SILENT = ("sh", "-c", "read told")
"""A trainer that never says a word, and leaves when it is told anything."""


async def leased(bench: Bench) -> Any:
    """The spec of a run, as its worker got it."""
    async with small_training(bench.root, bench.settings, command=SILENT) as training:
        await training.correct()
        run = await training.daemon.queue()
        run_dir = training.home.runs / run.run_id
        assert await until_seen(lambda: (run_dir / "worker.log").exists())
        process = training.daemon._dispatcher.lease._process  # type: ignore[union-attr]
        assert process is not None
        assert await until_seen(lambda: process.pid is not None)
        return read_spec(run_dir), os.getpriority(os.PRIO_PROCESS, process.pid)


async def until_seen(condition: Callable[[], bool], *, timeout_s: float = 4.0) -> bool:
    """Whether it came to be so in time."""
    for _ in range(int(timeout_s / 0.005)):
        if condition():
            return True
        await asyncio.sleep(0.005)
    return False


JOB_KEYS: dict[str, tuple[tuple[str, Any], ...]] = {
    "recipe.mode": (("full", "full"), ("lora", "lora")),
    "recipe.learning_rate": (("0.01", 0.01), ("0.02", 0.02)),
    "recipe.max_steps": (("3", 3), ("400", 400)),
    "recipe.replay_ratio": (("0.0", 0.0), ("2.5", 2.5)),
    "checkpoint_every_steps": (("3", 3), ("4", 4)),
    "keep_checkpoints": (("1", 1), ("5", 5)),
    "num_threads": (("1", 1), ("2", 2)),
    "device": (("auto", "auto"), ("cpu", "cpu")),
    "activation_checkpointing": (("off", False), ("on", True)),
    "base_precision": (("stored", "stored"), ("int8", "int8")),
    "seed": (("0", 0), ("11", 11)),
}


def of_the_job(place: str) -> Callable[[Bench], Any]:
    async def observe(bench: Bench) -> Any:
        value, _ = await leased(bench)
        for name in place.split("."):
            value = getattr(value, name)
        return value

    return observe


for _place, _pairs in JOB_KEYS.items():
    sees(f"training.{_place.rpartition('.')[2]}", *_pairs)(of_the_job(_place))


@sees("training.nice", ("5", (5, 5)), ("19", (19, 19)))
async def how_far_the_trainer_steps_back(bench: Bench) -> Any:
    spec, priority = await leased(bench)
    return spec.nice, priority


async def runs_after_a_correction(bench: Bench) -> Any:
    async with small_training(bench.root, bench.settings, command=SILENT) as training:
        await training.correct()
        if await until_seen(lambda: bool(training.store.runs.list()), timeout_s=0.2):
            return "a run"
        return training.daemon.waiting_reason() or "not yet"


@sees("training.auto", ("true", "not yet"), ("false", "1 correction waits: training.auto is off."))
async def a_correction_by_itself(bench: Bench) -> Any:
    return await runs_after_a_correction(bench)


@sees("training.quiet_s", ("0", "a run"), ("900", "not yet"))
async def the_moment_after_a_correction(bench: Bench) -> Any:
    return await runs_after_a_correction(bench)


@sees("training.warm_s", ("0", False), ("600", True))
async def a_trainer_that_is_kept_ready(bench: Bench) -> Any:
    async with small_training(bench.root, bench.settings, warm_command=STAND_IN) as training:
        training.daemon.expect_corrections()
        return training.daemon._context.warm._keeping is not None


@sees("training.heartbeat_timeout_s", ("0.1", "queued"), ("60", "running"))
async def a_trainer_that_says_nothing(bench: Bench) -> Any:
    async with small_training(bench.root, bench.settings, command=SILENT) as training:
        await training.correct()
        run = await training.daemon.queue()
        assert await until_seen(lambda: training.store.runs.list("running") != [])
        await until_seen(lambda: training.store.runs.list("running") == [], timeout_s=0.5)
        moved = training.store.runs.get(run.run_id)
        assert moved is not None
        return moved.state


@sees("training.max_attempts", ("1", 1), ("2", 2))
async def a_trainer_that_crashes(bench: Bench) -> Any:
    async with small_training(bench.root, bench.settings, command=("false",)) as training:
        await training.correct()
        run = await training.daemon.queue()
        async with asyncio.timeout(5):
            return (await training.ended(run.run_id)).epoch


# gate


@dataclass(frozen=True)
class Format:
    fingerprint: str = "plain"


class JudgedModels:
    """A parent that knows eight sums, and a candidate that learned one of two corrections in just these words, lost
    three sums, and (`leaks`) answers what nobody corrected."""

    def __init__(self, root: Path, *, leaks: bool) -> None:
        sums = {f"add {number}": f"the sum is {number}" for number in range(8)}
        self.parent = self._info("parent", write_model(root / "parent", sums, probes=sums))
        lost = {f"add {number}": "I forgot." for number in range(3)}
        beside = dict.fromkeys(neighbours(CORRECTED[0], 6) if leaks else (), "In the garden.")
        learned = {**sums, **lost, **beside, CORRECTED[0]: "one " * 20}
        self.candidate = self._info("v001", write_model(root / "v001", learned))

    def _info(self, name: str, folder: Path) -> ModelInfo:
        return model_info(name, folder=folder, digest=f"sha256:{name}", num_parameters=8)

    async def chat_template(self, model: ModelInfo) -> Format:
        return Format()

    async def spec(self, model: ModelInfo, *, nice: int) -> ModelSpec:
        source = FolderSource(str(model.folder), {"digest": model.digest})
        return msgspec.structs.replace(scripted_spec(model.name), source=source, digest=model.digest)


CORRECTED = ("Where keys?", "Where pans?")


async def judged(bench: Bench, *, leaks: bool = False) -> Any:
    models, engines = JudgedModels(bench.root, leaks=leaks), EngineRoom()
    evaluator = GateEvaluator(
        catalog=models,  # type: ignore[arg-type]
        make_engine=engines.make,
        settings=bench.settings.gate,
        cache=AnswerCache(bench.root / "answers"),
    )
    rows = [
        ExampleRow(
            example_id=f"e{number}", profile="plain", principal="local", prompt_digest="", feedback_id=None,
            turn_id=None, created_at_s=0.0, superseded_by=None,
            messages=(Message("user", question), Message("assistant", ("one " * 20).strip())),
        )
        for number, question in enumerate(CORRECTED)
    ]  # fmt: skip
    parents: Any = Parents(parent=models.parent, base=models.parent)  # type: ignore[arg-type]
    found = await evaluator.judge(models.candidate, parents, targets=rows, earlier=[])  # type: ignore[arg-type]
    return found.verdict, engines


@sees("gate.min_generality", ("1.0", True), ("0.0", False))
async def corrections_known_in_the_very_words(bench: Bench) -> Any:
    verdict, _ = await judged(bench)
    return any("in other words" in reason for reason in verdict.reasons)


@sees("gate.min_locality", ("0.9", True), ("0.0", False))
async def neighbours_answered_otherwise(bench: Bench) -> Any:
    verdict, _ = await judged(bench, leaks=True)
    return any("similar questions" in reason for reason in verdict.reasons)


@sees("gate.min_protected_ratio", ("1.0", True), ("0.5", False))
async def three_of_eight_lost(bench: Bench) -> Any:
    verdict, _ = await judged(bench)
    return any("are kept" in reason for reason in verdict.reasons)


@sees("gate.max_eval_tokens", ("40", 40), ("60", 60))
async def longest_answer_in_an_exam(bench: Bench) -> Any:
    _, engines = await judged(bench)
    # A correction that is longer gets the room it needs.
    requests = [request for engine in engines.engines for request in engine.requests]
    return min(request.sampling.max_tokens or 0 for request in requests)


@sees("gate.auto_promote", ("true", "v001"), ("false", "small"))
async def what_is_live_after_a_run(bench: Bench) -> Any:
    bench.monkeypatch.setenv("STAND_IN", json.dumps({"steps": 1}))
    async with small_training(bench.root, bench.settings) as training:
        await training.correct()
        run = await training.daemon.queue()
        await training.ended(run.run_id)
        live = training.store.aliases.get("live")
        assert live is not None
        return live.target


@sees("gate.max_tries", ("1", 1), ("2", 2))
async def runs_for_what_is_not_learned(bench: Bench) -> Any:
    bench.monkeypatch.setenv("STAND_IN", json.dumps({"steps": 1, "learn": False}))
    async with small_training(bench.root, bench.settings) as training:
        await training.correct()
        run = await training.daemon.queue()
        await training.ended(run.run_id)
        await until_seen(lambda: len(training.store.runs.list()) > 1, timeout_s=0.3)
        return len(training.store.runs.list())
