"""Getting a run ready for a worker: its directory, its rows, its spec, its lease.

The rows are written once, at the first lease, so that a resumed run sees exactly the data it began with; the
spec is written again for each lease, with the new epoch and the same parent. The order is what fences an older
worker out: first the new epoch in the run's directory (under the lock that commits hold), then the log.
All of it is blocking file work for a thread.

What was fixed is hashed: before each lease `preparation_of` tells a run whose rows, parent or spec are not the bytes
that were written. Nothing of it is the only copy: such a run starts over from the log.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from homefire.config.schema import TrainingSettings
from homefire.errors import CorruptData, NotTrainable
from homefire.machine.hashing import hash_file
from homefire.store.durable import make_directory, write_file
from homefire.store.nouns.examples import ExampleRow
from homefire.store.nouns.runs import RunRow
from homefire.trainer.contract import (
    CHECKPOINTS,
    EPOCH_FILE,
    FINAL,
    LOCK_FILE,
    LOG_FILE,
    RESULT_MANIFEST,
    SPEC_FILE,
    RunSpec,
    TrainingRow,
    decode_checked,
    encode_checked,
    encode_rows,
    read_rows,
    read_spec,
)
from homefire.trainer.recipe import Mode, Recipe
from homefire.training.augmentation import neighbours, wordings
from homefire.training.datasets import rows_to_learn, rows_to_replay, rows_to_retain
from homefire.training.memory_plan import fit_to_memory
from homefire.world import World

if TYPE_CHECKING:
    from homefire.catalog.models import ModelInfo

EXAMPLES_FILE = "examples.jsonl"
RETAINED_FILE = "retained.jsonl"
REPLAY_ROWS_FILE = "replay.jsonl"
WORDINGS_FILE = "wordings.jsonl"
NEIGHBOURS_FILE = "neighbours.jsonl"
PARENT_FILE = "parent.json"
ADAPTER_CONFIG = "adapter_config.json"


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """What a run really starts from: `live` at its first lease, which the log's row may not know yet.

    A run that un-teaches starts from an ancestor instead; `live` is then what it replaces.
    """

    parent: str
    base: str
    base_digest: str
    live: str | None = None
    rows: dict[str, str] = {}
    """SHA-256 by name of the files of rows."""

    @property
    def live_then(self) -> str:
        """What was live when the run began."""
        return self.live or self.parent


@dataclass(frozen=True, slots=True)
class Parents:
    """The model a run starts from, and the base below it (itself, when it is a base)."""

    parent: ModelInfo
    base: ModelInfo

    def check_trainable(self) -> None:
        """Raise NotTrainable, with the reason, where this model cannot be taught here."""
        if not self.parent.trainable:
            reason = self.parent.why_not_trainable or "it cannot be trained here"
            raise NotTrainable(
                f"The live model {self.parent.name} cannot be taught: {reason}.",
                hint="Corrections are kept; they are learned when a trainable model is live.",
                name=self.parent.name,
            )


def recipe_from_settings(settings: TrainingSettings) -> Recipe:
    """The recipe that the settings ask for; what they leave open is the recipe's own."""
    asked = {
        "mode": settings.mode,
        "learning_rate": settings.learning_rate,
        "max_steps": settings.max_steps,
        "replay_ratio": settings.replay_ratio,
    }
    values = {name: value for name, value in asked.items() if value is not None}
    if settings.max_steps is not None:
        values["min_steps"] = min(Recipe().min_steps, settings.max_steps)
    return Recipe.from_dict(values)


def is_prepared(run_dir: Path) -> bool:
    """Whether the run had a lease before."""
    return (run_dir / PARENT_FILE).exists()


def write_rows(
    run_dir: Path,
    *,
    new: Sequence[ExampleRow],
    learned: Sequence[ExampleRow],
    old_skills: Sequence[TrainingRow],
    parents: Parents,
    world: World,
    recipe: Recipe,
    seed: int,
    live: str | None = None,
) -> Origin:
    """Fix what the run is about: its rows and its parent. Doing it again changes nothing.

    `old_skills` are rows of old skills (`replay.py`), `learned` corrections that the parent knows. `recipe` and
    `seed` decide the other wordings and the neighbours (`augmentation.py`).
    """
    make_directory(run_dir, world)
    if is_prepared(run_dir):
        return read_origin(run_dir)
    retained = rows_to_retain(learned, new)
    retained_ids = {row.example_id for row in retained}
    to_learn = [*new, *(example for example in learned if example.example_id in retained_ids)]
    replay = rows_to_replay(old_skills, to_learn)
    taught = rows_to_learn(new)
    rows: dict[str, Sequence[TrainingRow]] = {
        EXAMPLES_FILE: taught,
        RETAINED_FILE: retained,
        REPLAY_ROWS_FILE: replay,
        WORDINGS_FILE: wordings(taught, retained, recipe=recipe, seed=seed),
        NEIGHBOURS_FILE: neighbours(taught, retained, old_skills, recipe=recipe, seed=seed),
    }
    hashes: dict[str, str] = {}
    for name, content in rows.items():
        encoded = encode_rows(content)
        hashes[name] = hashlib.sha256(encoded).hexdigest()
        write_file(run_dir / name, encoded, world)
    origin = Origin(
        parent=parents.parent.name,
        base=parents.base.name,
        base_digest=parents.base.digest,
        live=live,
        rows=hashes,
    )
    write_file(run_dir / PARENT_FILE, encode_checked(origin), world)
    return origin


def prepared_examples(run_dir: Path) -> set[str]:
    """The examples that a prepared run learns."""
    return {row.example_id for row in read_rows(run_dir / EXAMPLES_FILE) if "#" not in row.example_id}


def discard_preparation(run_dir: Path) -> None:
    """Let the run start over: rows, spec, steps and checkpoints go, fence and log stay.

    Raise the fence first. What says that the run is prepared goes last, so that a kill in between is harmless.
    """
    for path in sorted(run_dir.iterdir(), key=lambda path: path.name == PARENT_FILE):
        if path.name in (EPOCH_FILE, LOCK_FILE, LOG_FILE):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def preparation_of(run_dir: Path) -> Literal["none", "whole", "damaged"]:
    """Whether an earlier lease fixed what the run is about, and all of it is as it was written. Reads every row.

    What a run made without it (its parent's name lost, say) is damage too: nobody knows what it is made from.
    """
    if not is_prepared(run_dir):
        left = [name for name in (CHECKPOINTS, FINAL, SPEC_FILE) if (run_dir / name).exists()]
        return "damaged" if left else "none"
    try:
        origin = read_origin(run_dir)
        if any(hash_file(run_dir / name) != sha256 for name, sha256 in origin.rows.items()):
            return "damaged"
        if (run_dir / SPEC_FILE).exists():
            read_spec(run_dir)
    except (CorruptData, FileNotFoundError, msgspec.DecodeError):
        return "damaged"
    return "whole"


def read_origin(run_dir: Path) -> Origin:
    """What the run starts from. Raises CorruptData where that is not what was written."""
    try:
        return decode_checked((run_dir / PARENT_FILE).read_bytes(), Origin)
    except (FileNotFoundError, msgspec.DecodeError) as error:
        raise CorruptData(
            f"{run_dir.name}/{PARENT_FILE} is damaged: {error}.", path=str(run_dir / PARENT_FILE)
        ) from error


def write_spec(
    run_dir: Path,
    run: RunRow,
    *,
    epoch: int,
    parents: Parents,
    settings: TrainingSettings,
    world: World,
    num_tries: int = 0,
) -> RunSpec:
    """The spec of one lease. What decides the weights stays as the first lease had it.

    `num_tries` runs of the same corrections came before: this one draws other rows, or it would end the same.
    Raises NotTrainable where the run does not fit into the memory that is free.
    """
    recipe = Recipe.from_dict(run.recipe)
    if parents.parent.kind == "version":
        # A version is taught further in the way it was made: an adapter sits on its base's weights, and what
        # was trained as a whole is not a base that another adapter could be served on.
        is_adapter = (parents.parent.folder / ADAPTER_CONFIG).exists()
        recipe = msgspec.structs.replace(recipe, mode="lora" if is_adapter else "full")
    may_adapt = recipe.mode == "auto"
    recipe = recipe.resolved(parents.parent.num_parameters)
    first = read_spec(run_dir) if (run_dir / SPEC_FILE).exists() else None
    again, note = False, ""
    if first is None:
        recipe, again, note = fit_to_memory(
            recipe,
            base=parents.base,
            settings=settings,
            longest_line_bytes=_longest_line(run_dir),
            may_adapt=may_adapt,
        )
    mode: Mode = "lora" if recipe.mode == "lora" else "full"
    spec = RunSpec(
        run_id=run.run_id,
        epoch=epoch,
        model_folder=str(parents.parent.folder),
        base_folder=str(parents.base.folder),
        mode=mode,
        recipe=recipe,
        examples=str(run_dir / EXAMPLES_FILE),
        retained=_named(run_dir / RETAINED_FILE),
        replay=_named(run_dir / REPLAY_ROWS_FILE),
        wordings=_named(run_dir / WORDINGS_FILE),
        neighbours=_named(run_dir / NEIGHBOURS_FILE),
        seed=settings.seed + num_tries,
        began_at_s=world.clock.now_s(),
        num_threads=settings.num_threads,
        device=settings.device,
        activation_checkpointing=again,
        base_precision=settings.base_precision,
        memory_note=note,
        checkpoint_every_steps=settings.checkpoint_every_steps,
        keep_checkpoints=settings.keep_checkpoints,
        nice=settings.nice,
    )
    if first is not None:
        spec = msgspec.structs.replace(
            spec,
            mode=first.mode,
            recipe=first.recipe,
            seed=first.seed,
            began_at_s=first.began_at_s,
            num_threads=first.num_threads,
            device=first.device,
            activation_checkpointing=first.activation_checkpointing,
            base_precision=first.base_precision,
            memory_note=first.memory_note,
        )
    write_file(run_dir / SPEC_FILE, encode_checked(spec), world)
    return spec


def _longest_line(run_dir: Path) -> int:
    """Of the rows to train on, in bytes."""
    longest = 0
    for name in (EXAMPLES_FILE, RETAINED_FILE, REPLAY_ROWS_FILE):
        with (run_dir / name).open("rb") as lines:
            longest = max(longest, max((len(line) for line in lines), default=0))
    return longest


def _named(path: Path) -> str | None:
    """The file's name for a spec; None where it holds no rows, or the run was prepared before there were any."""
    return str(path) if path.exists() and path.stat().st_size else None


def raise_fence(run_dir: Path, epoch: int, world: World) -> None:
    """From now on only the worker with this epoch can commit; waits for a commit that is under way."""
    make_directory(run_dir, world)
    descriptor = os.open(run_dir / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        write_file(run_dir / EPOCH_FILE, str(epoch).encode(), world)
    finally:
        os.close(descriptor)


def has_result(run_dir: Path) -> bool:
    """Whether a worker finished. What it made is compared with its hashes when it is published."""
    return (run_dir / FINAL / RESULT_MANIFEST).exists()


def discard_result(run_dir: Path, world: World) -> None:
    """Give up a damaged result: the worker makes it again from the last checkpoint."""
    aside = run_dir / f".{FINAL}.{world.random_bytes(6).hex()}.old"
    with contextlib.suppress(FileNotFoundError):
        world.files.replace(run_dir / FINAL, aside)
        shutil.rmtree(aside)


def discard_leftovers(run_dir: Path) -> None:
    """Give back the space of what only an unfinished run needs. Call it when the version is published."""
    for name in (CHECKPOINTS, FINAL):
        shutil.rmtree(run_dir / name, ignore_errors=True)
