"""One worker's part of a run: from its last checkpoint to pause, stop or the finished weights.

    rows, model → newest verified checkpoint → step, check, checkpoint … → cooldown → final weights

All that decides later steps is in `TrainingState`, the tensors and the random generators, which one checkpoint
holds together; so a run that was killed anywhere ends with the same bits as one that was not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import msgspec
import torch

from homefire.errors import StoreFull
from homefire.trainer import stopping
from homefire.trainer.checkpoint import CheckpointStore, Randomness, TrainingState, restore
from homefire.trainer.checks import Checks
from homefire.trainer.commit import Content, Lease, commit_directory, sweep
from homefire.trainer.contract import (
    FINAL,
    LOSSES_FILE,
    METRICS_FILE,
    Checkpointed,
    DiskFull,
    Done,
    ResultFiles,
    RunSpec,
    Started,
    Stepped,
    encode_checked,
    read_result,
)
from homefire.trainer.control import Control, Wanted
from homefire.trainer.data import load_data
from homefire.trainer.journal import Journal
from homefire.trainer.loop import (
    Interrupted,
    Losses,
    StepReport,
    build_optimizer,
    train_step,
)
from homefire.trainer.manner import MIN_OWN_SHARE
from homefire.trainer.margins import says_by_itself
from homefire.trainer.weights import load_model, num_parameters, result_files
from homefire.world import World

MAX_RETRY_S = 30.0
T = TypeVar("T")


class LeaveRequested(Exception):
    """The server wants the process to end; `step` is where the run can continue."""

    def __init__(self, wanted: Wanted, step: int) -> None:
        super().__init__(wanted)
        self.wanted = wanted
        self.step = step


class Trainer:
    """A run in this process. `work` does all of it and raises `LeaveRequested` when told to leave."""

    def __init__(
        self, spec: RunSpec, run_dir: Path, *, control: Control, world: World, started_s: float
    ) -> None:
        """`started_s`: when this process began, on the world's monotonic clock."""
        self._spec = spec
        self._run_dir = run_dir
        self._control = control
        self._world = world
        self._lease = Lease(run_dir, spec.epoch)
        with self._lease.held():
            sweep(run_dir)
        torch.manual_seed(spec.seed)
        self._data = load_data(spec)
        control.beat("loading the model")
        self._model = load_model(spec)
        ending, shown = self._data.endings()
        if ending and says_by_itself(self._model, shown) >= MIN_OWN_SHARE:
            self._data = self._data.following(ending)
        self._optimizer = build_optimizer(self._model, spec.recipe)
        self._checks = Checks(self._data, self._model, spec.recipe)
        self._store = CheckpointStore(
            self._lease, self._data.purpose, keep=spec.keep_checkpoints, world=world
        )
        control.beat("looking for a checkpoint")
        found = self._store.newest()
        self._progress = TrainingState()
        self._saved_step: int | None = None
        if found.state is not None:
            self._progress = restore(found, self._model.trainable, self._optimizer)
            self._saved_step = self._progress.step
        self._randomness = Randomness.capture()
        self._metrics = Journal(run_dir / METRICS_FILE, size_bytes=self._progress.metrics_bytes, world=world)
        self._losses = Journal(run_dir / LOSSES_FILE, size_bytes=self._progress.losses_bytes, world=world)
        control.emit(
            Started(
                step=self._progress.step,
                num_examples=len(self._data.rows.new),
                num_replay=len(self._data.rows.replay),
                num_left_out=self._data.num_left_out,
                num_parameters=num_parameters(self._model.whole.parameters()),
                num_trainable=num_parameters(self._model.trainable.values()),
                start_s=round(world.clock.monotonic_s() - started_s, 3),
                skipped=found.skipped,
            )
        )

    def work(self) -> Done:
        """Train to the end and write the result. Raises what `train_step`, `save` and `commit_directory`
        raise."""
        if self._saved_step is None:
            self._write_losses_header()
            self._check()
        while not self._progress.stop.done:
            self._step()
            if self._progress.stop.done or self._progress.step % self._spec.checkpoint_every_steps == 0:
                self._save()
        return self._finish()

    # One step

    def _step(self) -> None:
        self._leave_if_asked()
        recipe, position = self._spec.recipe, self._progress.step
        rate = stopping.rate_at(
            position,
            self._progress.stop,
            recipe,
            planned=self._planned_steps,
            share=self._data.sampler.rate_share,
        )
        started_s = time.monotonic()
        try:
            report = train_step(
                self._model,
                self._optimizer,
                self._data.step_batch(position),
                learning_rate=rate,
                recipe=recipe,
                should_continue=self._may_go_on,
            )
        except Interrupted:
            # The step is as if it had not begun: what dropout drew for it is drawn again.
            self._randomness.restore()
            self._leave_if_asked()
            raise
        self._randomness = Randomness.capture()
        self._progress = msgspec.structs.replace(self._progress, step=position + 1, loss=report.loss)
        self._check()
        elapsed_s = time.monotonic() - started_s
        self._progress = msgspec.structs.replace(self._progress, train_s=self._progress.train_s + elapsed_s)
        self._report(report, rate=rate, elapsed_s=elapsed_s)

    @property
    def _planned_steps(self) -> int:
        return self._spec.recipe.planned_steps_for(len(self._data.rows.new))

    def _may_go_on(self) -> bool:
        self._control.beat("training")
        return self._control.wanted is None

    def _check(self) -> None:
        """Look whether everything is learned, if that is due after this step, and let the stop rule
        decide."""
        recipe, step, state = self._spec.recipe, self._progress.step, self._progress.stop
        if stopping.is_check_due(state, step=step, recipe=recipe):
            is_settled = state.cooldown_from is not None or state.resumed_from is not None
            # From the cooldown on, little that is general is gained any more; what was learned must stay.
            found = self._checks.run(step, needs_general=not is_settled)
            state = stopping.after_check(
                state,
                step=step,
                num_learned=found.num_learned,
                num_new=len(self._data.rows.new),
                all_right=found.all_right,
                recipe=recipe,
                planned=self._planned_steps,
            )
        else:
            state = stopping.advance(state, step=step, recipe=recipe, planned=self._planned_steps)
        self._progress = msgspec.structs.replace(self._progress, stop=state)

    def _report(self, report: StepReport, *, rate: float, elapsed_s: float) -> None:
        step, recipe, border = self._progress.step, self._spec.recipe, self._data.num_corrections
        event = Stepped(
            step=step,
            max_steps=recipe.max_steps,
            loss=report.loss,
            new_loss=report.losses.mean(lambda row: row < border),
            replay_loss=report.losses.mean(lambda row: row >= border),
            learning_rate=rate,
            grad_norm=report.grad_norm,
            num_tokens=report.num_tokens,
            tokens_per_s=round(report.num_tokens / elapsed_s, 1),
            eta_s=round(self._progress.train_s / step * self._steps_left(), 1),
            num_learned=self._progress.stop.num_learned,
            num_examples=len(self._data.rows.new),
        )
        line = msgspec.json.encode(event) + b"\n"
        self._metrics.append(line)
        self._losses.append(_losses_line(step, report.losses))
        self._control.emit(event)

    def _steps_left(self) -> int:
        """At most so many steps are left."""
        state, recipe = self._progress.stop, self._spec.recipe
        end = recipe.max_steps
        if state.cooldown_from is not None:
            end = min(end, state.cooldown_from + stopping.cooldown_steps(state.cooldown_from, state, recipe))
        return max(0, end - self._progress.step)

    def _write_losses_header(self) -> None:
        rows = self._data.rows
        header = {
            "examples": [row.example_id for row in rows.new],
            "retained": [row.example_id for row in rows.retained],
            "num_replay": len(rows.replay),
        }
        self._losses.append(msgspec.json.encode(header) + b"\n")

    # Saving and leaving

    def _leave_if_asked(self) -> None:
        wanted = self._control.wanted
        if wanted is None:
            return
        if wanted != "skip" and self._saved_step != self._progress.step:
            self._save()
        raise LeaveRequested(wanted, self._saved_step or 0)

    def _save(self) -> None:
        """A durable checkpoint of where the run is now."""
        started_s = time.monotonic()

        def attempt() -> int:
            self._progress = msgspec.structs.replace(
                self._progress, metrics_bytes=self._metrics.sync(), losses_bytes=self._losses.sync()
            )
            saved = self._store.save(self._model.trainable, self._optimizer, self._progress, self._randomness)
            return saved.size_bytes

        size_bytes = self._until_there_is_room(attempt)
        self._saved_step = self._progress.step
        self._control.emit(
            Checkpointed(
                step=self._progress.step, size_bytes=size_bytes, save_s=round(time.monotonic() - started_s, 4)
            )
        )

    def _until_there_is_room(self, attempt: Callable[[], T]) -> T:
        """Try again from scratch while the disk is full. On a command the run is left at its last
        checkpoint."""
        retry_s = 1.0
        while True:
            try:
                return attempt()
            except StoreFull as error:
                self._control.emit(DiskFull(step=self._progress.step, retry_s=retry_s, message=error.message))
            if (wanted := self._control.wait(retry_s)) is not None:
                raise LeaveRequested(wanted, self._saved_step or 0)
            retry_s = min(2 * retry_s, MAX_RETRY_S)

    def _finish(self) -> Done:
        self._control.beat("undoing what can be spared")
        change_kept = self._checks.interpolate(self._progress.step)
        self._control.beat("writing the result")
        target = self._run_dir / FINAL
        files: Mapping[str, Content] = result_files(self._model, self._spec)
        self._until_there_is_room(
            lambda: commit_directory(
                target, files, lease=self._lease, world=self._world, manifest=_result_manifest
            )
        )
        return Done(
            step=self._progress.step,
            folder=str(target),
            files=read_result(self._run_dir) or {},
            num_learned=self._progress.stop.num_learned,
            num_examples=len(self._data.rows.new),
            change_kept=change_kept,
            loss=self._progress.loss,
            train_s=round(self._progress.train_s, 3),
        )


def _result_manifest(hashes: dict[str, str]) -> bytes:
    return encode_checked(ResultFiles(hashes))


def _losses_line(step: int, losses: Losses) -> bytes:
    rows = sorted(losses.by_row.items())
    values = {
        "step": step,
        "rows": [row for row, _ in rows],
        "losses": [round(total / count, 5) for _, (total, count) in rows],
    }
    return msgspec.json.encode(values) + b"\n"
