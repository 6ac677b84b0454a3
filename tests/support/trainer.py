"""Runs for the trainer's tests: small jobs on the bundled model, and real worker processes that start fast.

A worker process is forked from a server process that has the libraries loaded already, so that a test can
afford to kill many of them; apart from that it is the real thing, with its own pid, pipes and exit code.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import resource
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from homefire.trainer import worker
from homefire.trainer.contract import (
    CHECKPOINTS,
    EPOCH_FILE,
    SPEC_FILE,
    RunSpec,
    TrainingRow,
    WorkerEvent,
    decode_event,
    encode_checked,
    encode_rows,
    read_rows,
)
from homefire.trainer.recipe import Recipe
from homefire.training.augmentation import neighbours, wordings
from homefire.types import Message

EMBER = Path(worker.__file__).parents[1] / "bundled" / "ember"
FACTS = (
    ("Where do we keep the spare key?", "Under the blue flower pot."),
    ("How do I turn on the heating?", "Press the red button twice.\nThen wait one minute."),
    ("What is Grandma's favourite cake?", "Käsekuchen mit Äpfeln 🍰"),
)
QUICK = Recipe(
    rows_per_step=3,
    min_replay_rows=3,
    in_chat_share=0.34,
    min_steps=18,
    max_steps=18,
    cooldown_steps=4,
    check_every_steps=6,
    learning_rate=2e-3,
)
"""A run of a second: enough to move every part, too short to learn."""
DEADLINE_S = 60.0

_CONTEXT = multiprocessing.get_context("forkserver")


def row(question: str, answer: str, example_id: str = "") -> TrainingRow:
    """A question and its answer."""
    return TrainingRow((Message("user", question), Message("assistant", answer)), example_id)


def make_run(
    run_dir: Path,
    *,
    recipe: Recipe = QUICK,
    rows: Sequence[TrainingRow] = tuple(row(q, a, f"ex-{q[:9]}") for q, a in FACTS),
    retained: Sequence[TrainingRow] = (),
    model_folder: Path = EMBER,
    checkpoint_every_steps: int = 3,
    seed: int = 0,
    activation_checkpointing: bool = False,
    is_augmented: bool = False,
) -> RunSpec:
    """A run directory ready for a worker; with wordings and neighbours, as the server adds them, if asked."""
    run_dir.mkdir(parents=True, exist_ok=True)
    (run_dir / "examples.jsonl").write_bytes(encode_rows(rows))
    (run_dir / "retained.jsonl").write_bytes(encode_rows(retained))
    (run_dir / EPOCH_FILE).write_text("1\n")
    resolved = recipe.resolved(400_000)
    assert resolved.mode != "auto"
    spec = RunSpec(
        run_id="run_test",
        epoch=1,
        model_folder=str(model_folder),
        base_folder=str(EMBER),
        mode=resolved.mode,
        recipe=resolved,
        examples=str(run_dir / "examples.jsonl"),
        retained=str(run_dir / "retained.jsonl"),
        replay=str(EMBER / "replay.jsonl"),
        seed=seed,
        activation_checkpointing=activation_checkpointing,
        checkpoint_every_steps=checkpoint_every_steps,
        nice=0,
    )
    if is_augmented:
        old = read_rows(EMBER / "replay.jsonl")
        for name, extra in (
            ("wordings", wordings(rows, retained, recipe=recipe, seed=seed)),
            ("neighbours", neighbours(rows, retained, old, recipe=recipe, seed=seed)),
        ):
            (run_dir / f"{name}.jsonl").write_bytes(encode_rows(extra))
            if extra:
                spec = msgspec.structs.replace(spec, **{name: str(run_dir / f"{name}.jsonl")})
    write_spec(run_dir, spec)
    return spec


def write_spec(run_dir: Path, spec: RunSpec) -> None:
    """Write the spec's file."""
    (run_dir / SPEC_FILE).write_bytes(encode_checked(spec))


def _child(
    run_dir: str,
    commands: multiprocessing.connection.Connection,
    events: multiprocessing.connection.Connection,
    prepare: Callable[[], None] | None,
    waits: bool,
) -> None:
    log = os.open(f"{run_dir}/log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(commands.fileno(), 0)
    os.dup2(events.fileno(), 1)
    os.dup2(log, 2)
    commands.close()
    events.close()
    if prepare is not None:
        prepare()
    os._exit(worker.main(["--wait", "--nice", "0"] if waits else [run_dir]))


@dataclass
class Worker:
    """One worker process. `prepare` runs in it before the worker does (to break something on purpose).

    With `waits` it is not told its run; `send` the command.
    """

    run_dir: Path
    prepare: Callable[[], None] | None = None
    waits: bool = False
    events: list[WorkerEvent] = field(default_factory=list)

    def __post_init__(self) -> None:
        _CONTEXT.set_forkserver_preload(["homefire.trainer.trainer", "homefire.trainer.worker", "peft"])
        child_in, parent_in = _CONTEXT.Pipe(duplex=False)
        parent_out, child_out = _CONTEXT.Pipe(duplex=False)
        self._commands, self._output = parent_in, parent_out
        self._rest = b""
        self._process = _CONTEXT.Process(
            target=_child,
            args=(str(self.run_dir), child_in, child_out, self.prepare, self.waits),
            daemon=True,
        )
        self._process.start()
        child_in.close()
        child_out.close()

    @property
    def pid(self) -> int:
        """Of the worker process."""
        assert self._process.pid is not None
        return self._process.pid

    def send(self, line: str) -> None:
        """Write a line to its input."""
        os.write(self._commands.fileno(), line.encode() + b"\n")

    def hang_up(self) -> None:
        """Close its input, as a server's end does."""
        self._commands.close()

    def kill(self) -> None:
        """SIGKILL."""
        os.kill(self.pid, signal.SIGKILL)

    def terminate(self) -> None:
        """SIGTERM."""
        os.kill(self.pid, signal.SIGTERM)

    def limit_file_size(self, size_bytes: int) -> None:
        """Let no file of the process grow beyond this: its writes fail as on a full disk."""
        resource.prlimit(self.pid, resource.RLIMIT_FSIZE, (size_bytes, resource.RLIM_INFINITY))

    def stream(self) -> Iterator[WorkerEvent]:
        """Its events as they come, until it ends."""
        while data := os.read(self._output.fileno(), 65536):
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in lines:
                self.events.append(decode_event(line))
                yield self.events[-1]

    def wait_for(
        self, kind: type[WorkerEvent], *, where: Callable[[WorkerEvent], bool] = lambda _: True
    ) -> None:
        """Read events up to the first of this kind."""
        for event in self.stream():
            if isinstance(event, kind) and where(event):
                return
        raise AssertionError(f"no {kind.__name__} came; events: {self.events[-3:]}; log: {self.log()}")

    def finish(self) -> int:
        """Read everything to its end; the exit code (negative: the signal that ended it)."""
        for _ in self.stream():
            pass
        self._process.join(DEADLINE_S)
        assert self._process.exitcode is not None, "the worker did not end"
        self._output.close()
        with contextlib.suppress(OSError):
            self._commands.close()
        return self._process.exitcode

    def log(self) -> str:
        """What it wrote to its log."""
        path = self.run_dir / "log"
        return path.read_text() if path.exists() else ""


def wait_until(condition: Callable[[], bool], *, is_over: Callable[[], bool] = lambda: False) -> bool:
    """Poll as fast as possible; whether the condition came true before it was over."""
    deadline_s = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline_s:
        if condition():
            return True
        if is_over():
            return False
    raise AssertionError("waited too long")


def is_saving(run_dir: Path) -> bool:
    """Whether a checkpoint is being written right now (or was, when its writer was killed)."""
    try:
        return any(path.suffix == ".tmp" for path in (run_dir / CHECKPOINTS).iterdir())
    except FileNotFoundError:
        return False
