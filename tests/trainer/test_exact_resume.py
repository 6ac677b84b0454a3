"""A killed run ends with the same bits as one that was not, and the check that says so can see."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from homefire.trainer import checkpoint, trainer, weights
from homefire.trainer.contract import METRICS_FILE, Done, ExitCode, Stepped
from homefire.trainer.recipe import Recipe
from tests.support.trainer import QUICK, Worker, is_saving, make_run, wait_until

LORA = msgspec.structs.replace(QUICK, mode="lora", lora_dropout=0.2)
FULL = msgspec.structs.replace(QUICK, microbatch_tokens=120, parent_weight=0.5)
"""Full fine-tuning in several micro-batches a step, with wordings and neighbours, compared with the base."""


def digests(run_dir: Path) -> dict[str, str]:
    """SHA-256 of what a finished run left: weights, optimizer, and the numbers of every step."""
    newest = max((run_dir / "checkpoints").iterdir(), key=lambda path: path.name)
    files = [
        *(run_dir / "final").glob("*.safetensors"),
        newest / "weights.safetensors",
        newest / "optimizer.safetensors",
    ]
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    lines = [json.loads(line) for line in (run_dir / METRICS_FILE).read_text().splitlines()]
    timeless = [{k: v for k, v in line.items() if k not in ("tokens_per_s", "eta_s")} for line in lines]
    found["metrics"] = hashlib.sha256(json.dumps(timeless).encode()).hexdigest()
    return found


def run_straight(
    run_dir: Path, recipe: Recipe, *, prepare: Callable[[], None] | None = None, **spec: Any
) -> dict[str, str]:
    """The digests of a run that nobody disturbs."""
    make_run(run_dir, recipe=recipe, is_augmented=recipe is FULL, **spec)
    worker = Worker(run_dir, prepare)
    assert worker.finish() == ExitCode.DONE, worker.log()
    return digests(run_dir)


def run_killed(
    run_dir: Path,
    recipe: Recipe,
    *,
    kills: str,
    prepare: Callable[[], None] | None = None,
    seed: int = 0,
    checkpoint_every_steps: int = 1,
    **spec: Any,
) -> Worker:
    """A run whose workers are killed, one after another, and which is then left to end; the last worker.

    `kills`: a letter per worker, `s` inside its next save, `r` at a random moment of its work.
    """
    make_run(
        run_dir,
        recipe=recipe,
        checkpoint_every_steps=checkpoint_every_steps,
        is_augmented=recipe is FULL,
        **spec,
    )
    rng = random.Random(seed)
    for kind in kills:
        victim = Worker(run_dir, prepare)
        countdown = rng.randint(1, 3)
        for event in victim.stream():
            countdown -= isinstance(event, Stepped)
            if countdown <= 0:
                break
        if kind == "s":
            wait_until(lambda: is_saving(run_dir), is_over=lambda: (run_dir / "final").exists())
        else:
            moment = rng.randint(0, 20_000)
            wait_until(iter([False] * moment + [True]).__next__)
        victim.kill()
        victim.finish()
    last = Worker(run_dir, prepare)
    last.finish()
    return last


def forget_position() -> None:
    """Planted bug: checkpoints say that no step was taken."""
    save = checkpoint.CheckpointStore.save

    def broken(self, trainable, optimizer, progress, randomness):  # type: ignore[no-untyped-def]
        return save(self, trainable, optimizer, msgspec.structs.replace(progress, step=0), randomness)

    checkpoint.CheckpointStore.save = broken  # type: ignore[method-assign]


def forget_randomness() -> None:
    """Planted bug: the random generators are not set back."""
    checkpoint.Randomness.restore = lambda self: None  # type: ignore[method-assign]


def forget_optimizer() -> None:
    """Planted bug: AdamW begins anew."""
    restore = checkpoint.restore

    def broken(found, trainable, optimizer):  # type: ignore[no-untyped-def]
        fresh = {
            name: {} if name == "optimizer.safetensors" else part for name, part in found.tensors.items()
        }
        return restore(checkpoint.ResumePoint(found.path, found.state, fresh, ()), trainable, optimizer)

    trainer.restore = broken


@pytest.fixture(scope="module")
def straight_adapter(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The digests of an undisturbed LoRA run."""
    return run_straight(tmp_path_factory.mktemp("straight"), LORA)


def test_a_killed_run_ends_bit_identical(tmp_path: Path) -> None:
    expected = run_straight(tmp_path / "straight", FULL)
    last = run_killed(tmp_path / "killed", FULL, kills="rsrssr")
    assert isinstance(last.events[-1], Done), last.log()
    assert digests(tmp_path / "killed") == expected


def test_a_killed_adapter_run_with_dropout_ends_bit_identical(
    tmp_path: Path, straight_adapter: dict[str, str]
) -> None:
    last = run_killed(tmp_path, LORA, kills="sr")
    assert isinstance(last.events[-1], Done), last.log()
    assert digests(tmp_path) == straight_adapter


def few_logits_at_once() -> None:
    """Every micro-batch in several chunks of logits, as with a large vocabulary."""
    weights.LOGITS_CHUNK_BYTES = 4 * 448 * 5


@pytest.mark.parametrize(
    ("recipe", "on_an_adapter"), [(FULL, False), (LORA, True)], ids=["full", "an adapter's child"]
)
def test_a_killed_run_in_chunks_with_activation_checkpointing_ends_bit_identical(
    tmp_path: Path, recipe: Recipe, on_an_adapter: bool
) -> None:
    spec: dict[str, Any] = {"activation_checkpointing": True}
    if on_an_adapter:
        run_straight(tmp_path / "parent", msgspec.structs.replace(LORA, min_steps=6, max_steps=6))
        spec["model_folder"] = tmp_path / "parent" / "final"
    expected = run_straight(tmp_path / "straight", recipe, prepare=few_logits_at_once, **spec)
    last = run_killed(tmp_path / "killed", recipe, kills="sr", prepare=few_logits_at_once, **spec)
    assert isinstance(last.events[-1], Done), last.log()
    assert digests(tmp_path / "killed") == expected


@pytest.mark.parametrize("bug", [forget_position, forget_randomness, forget_optimizer])
def test_the_check_notices_what_a_checkpoint_forgets(
    tmp_path: Path, straight_adapter: dict[str, str], bug: Callable[[], None]
) -> None:
    last = run_killed(tmp_path, LORA, kills="r", prepare=bug)
    assert not isinstance(last.events[-1], Done) or digests(tmp_path) != straight_adapter
