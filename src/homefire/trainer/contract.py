"""The protocol between the server and the trainer worker: the spec, commands, events, exit codes, files.

One worker process trains one run in one directory:

    RUN_DIR/spec.json             this module's `RunSpec`, written by the server before it starts the worker
    RUN_DIR/epoch                the lease's number as text; a worker with another one commits nothing
    RUN_DIR/lock                 flock held for each commit, and by the server while it writes `epoch`
    RUN_DIR/checkpoints/step-…/  what the run resumes from, newest verified first
    RUN_DIR/metrics.jsonl        one `Stepped` a line, no step twice
    RUN_DIR/example_losses.jsonl header, then per step the mean loss of each row that was in it
    RUN_DIR/final/               the result: a model folder (full) or an adapter folder (LoRA), and the hashes
                                 of its files (`manifest.json`), named in one atomic move
    RUN_DIR/worker.log           what the worker and its libraries print

The worker reads commands as JSON lines from stdin and writes events as JSON lines to stdout. Importing this
needs no torch.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec

from homefire.errors import InvalidRequest
from homefire.trainer.recipe import Mode, Recipe
from homefire.types import Message

T = TypeVar("T")
SPEC_FILE = "spec.json"
EPOCH_FILE = "epoch"
LOCK_FILE = "lock"
CHECKPOINTS = "checkpoints"
METRICS_FILE = "metrics.jsonl"
LOSSES_FILE = "example_losses.jsonl"
FINAL = "final"
ALONE_SUFFIX = "#alone"
"""Marks the row that teaches an example's last question without its context."""
RESULT_MANIFEST = "manifest.json"
LOG_FILE = "worker.log"
_HASH_BYTES = 64


Device = Literal["auto", "cuda", "mps", "cpu"]
BasePrecision = Literal["stored", "int8", "nf4"]


class RunSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One run for one worker, under one lease.

    `model_folder` is the parent the run starts from: a complete model folder, or (LoRA only) a folder with an
    adapter, then `base_folder` holds the complete model it sits on. `recipe` is resolved.
    """

    run_id: str
    epoch: int
    model_folder: str
    base_folder: str
    mode: Mode
    recipe: Recipe
    examples: str
    """JSONL of `TrainingRow`: what has to be learned."""
    retained: str | None = None
    """JSONL of `TrainingRow`: earlier corrections, replayed so that teaching new ones does not undo them."""
    replay: str | None = None
    """JSONL of rows with `messages`: old skills, replayed likewise."""
    wordings: str | None = None
    """JSONL of `TrainingRow`: the rows to learn and to retain again with their question in other words, under
    the same `example_id`."""
    neighbours: str | None = None
    """JSONL of rows with `messages`: questions close to what is taught, with the answers that must stay."""
    seed: int = 0
    began_at_s: float | None = None
    """When the run was first leased: the date that chat templates with one show; None: now."""
    num_threads: int = 1
    device: Device = "auto"
    activation_checkpointing: bool = False
    """Compute the layers' inner values again on the way back instead of holding them: less memory, a third slower."""
    base_precision: BasePrecision = "stored"
    """Of the weights below an adapter: as they are stored, or held in 8 or 4 bits by bitsandbytes."""
    memory_note: str = ""
    """What was changed so that the run fits into memory, as a sentence."""
    checkpoint_every_steps: int = 20
    keep_checkpoints: int = 2
    nice: int = 19


class ResultFiles(msgspec.Struct, frozen=True):
    """The files of a result: SHA-256 by name."""

    files: dict[str, str]


class TrainingRow(msgspec.Struct, frozen=True, omit_defaults=True):
    """A conversation to train on. Of an example only the last message is learned, of replay every answer."""

    messages: tuple[Message, ...]
    example_id: str = ""


class Command(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What the server asks of a worker. SIGTERM means pause; end of input means: leave at once.

    `train` gives a worker that was started ahead (`--wait`) its run; `run_dir` is there for it alone.
    """

    do: Literal["train", "pause", "stop", "skip"]
    run_dir: str | None = None


class ExitCode(enum.IntEnum):
    """How a worker's process ended; anything else is a crash, and the run can be resumed."""

    DONE = 0
    FAILED = 70
    PAUSED = 71
    STOPPED = 72
    SKIPPED = 73
    FENCED = 74
    ORPHANED = 75


class _Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="event"):
    pass


class Ready(_Event, frozen=True, kw_only=True, tag="ready"):
    """A worker that was started ahead has its libraries loaded and waits for its run."""

    load_s: float


class Started(_Event, frozen=True, kw_only=True, tag="started"):
    """Model and data are ready; `step` steps were already done.

    `skipped` says which damaged checkpoints were passed over, and why.
    """

    step: int
    num_examples: int
    num_replay: int
    num_left_out: int
    """Older rows that were not used: too long, refused by the template, or asking what is now taught."""
    num_parameters: int
    num_trainable: int
    start_s: float
    """Seconds from process start until the first step could begin."""
    skipped: tuple[str, ...] = ()


class Heartbeat(_Event, frozen=True, kw_only=True, tag="heartbeat"):
    """The worker's process exists; about every second between other events, from a thread of its own.

    Whether it moves on is in the numbers: they do not change when its work hangs.
    """

    phase: str
    cpu_s: float = 0.0
    """Processor time the process has used, the heartbeat's own not counted."""
    num_marks: int = 0
    """How many times the work said that it went on (each micro-batch, each phase)."""


class Stepped(_Event, frozen=True, kw_only=True, tag="step"):
    """One optimizer step is done. Losses are mean nats per answer token; `eta_s` is an upper bound."""

    step: int
    max_steps: int
    loss: float
    new_loss: float | None
    replay_loss: float | None
    learning_rate: float
    grad_norm: float
    num_tokens: int
    """Tokens read by the model in this step, padding not counted."""
    tokens_per_s: float
    eta_s: float
    num_learned: int
    """New examples that the last check found learned."""
    num_examples: int


class Checkpointed(_Event, frozen=True, kw_only=True, tag="checkpoint"):
    """The run can be resumed from here: durable, read back and hashed."""

    step: int
    size_bytes: int
    save_s: float


class DiskFull(_Event, frozen=True, kw_only=True, tag="disk_full"):
    """A save found no room; nothing is lost, and it is tried again in `retry_s`."""

    step: int
    retry_s: float
    message: str


class Paused(_Event, frozen=True, kw_only=True, tag="paused"):
    """Last event: the run continues from `step` when a worker is started again."""

    step: int


class Stopped(_Event, frozen=True, kw_only=True, tag="stopped"):
    """Last event: ended on request, with a checkpoint at `step`."""

    step: int


class Skipped(_Event, frozen=True, kw_only=True, tag="skipped"):
    """Last event: given up on request, nothing was saved."""

    step: int


class Done(_Event, frozen=True, kw_only=True, tag="done"):
    """Last event: `folder` is complete and durable.

    `num_learned` is smaller than `num_examples` when `max_steps` ended the run.
    """

    step: int
    folder: str
    files: dict[str, str]
    """SHA-256 of each file of `folder`."""
    num_learned: int
    num_examples: int
    loss: float
    change_kept: float = 1.0
    """Share of the change to the weights that stayed when they were pulled back toward the parent's."""
    train_s: float
    """Seconds of stepping, over all processes that worked on this run."""


class Failed(_Event, frozen=True, kw_only=True, tag="failed"):
    """Last event: the run cannot continue as it is.

    `reason`: data (rows, template), numeric (NaN or infinity), disk (a flush failed), fenced (another worker
    has the run), model (folder broken), memory, bug. With `data`, `details["unusable"]` maps each example that cannot
    be trained on to why.
    """

    reason: Literal["data", "numeric", "disk", "fenced", "model", "memory", "bug"]
    code: str
    message: str
    hint: str | None = None
    details: dict[str, Any] = {}


WorkerEvent = (
    Ready
    | Started
    | Heartbeat
    | Stepped
    | Checkpointed
    | DiskFull
    | Paused
    | Stopped
    | Skipped
    | Done
    | Failed
)


def encode_line(value: msgspec.Struct) -> bytes:
    """One JSON line."""
    return msgspec.json.encode(value) + b"\n"


def decode_event(line: bytes) -> WorkerEvent:
    """The event in one line of a worker's output; `msgspec.ValidationError` if it is none."""
    event: WorkerEvent = msgspec.json.decode(line, type=WorkerEvent)
    return event


def decode_command(line: bytes) -> Command:
    """The command in one line of a worker's input; `msgspec.ValidationError` if it is none."""
    return msgspec.json.decode(line, type=Command)


def encode_checked(value: msgspec.Struct) -> bytes:
    """A line of JSON after the SHA-256 of it, so that a flipped bit is noticed before use."""
    body = msgspec.json.encode(value)
    return hashlib.sha256(body).hexdigest().encode() + b" " + body + b"\n"


def decode_checked(data: bytes, kind: type[T]) -> T:
    """What `encode_checked` made; `msgspec.DecodeError` where a byte of it is another one."""
    checksum, body = data[:_HASH_BYTES], data[_HASH_BYTES + 1 : -1]
    if data != checksum + b" " + body + b"\n" or checksum != hashlib.sha256(body).hexdigest().encode():
        raise msgspec.DecodeError("its checksum is that of other bytes")
    return msgspec.json.decode(body, type=kind)


def read_spec(run_dir: Path) -> RunSpec:
    """The spec of a run directory; `msgspec.DecodeError` or `OSError` if there is none that is whole."""
    return decode_checked((run_dir / SPEC_FILE).read_bytes(), RunSpec)


def read_result(run_dir: Path) -> dict[str, str] | None:
    """SHA-256 by name of the files a worker made, as it committed them; None where there is no result.

    Raises `msgspec.DecodeError` or `OSError` where the list itself is damaged.
    """
    folder = run_dir / FINAL
    if not folder.is_dir():
        return None
    return decode_checked((folder / RESULT_MANIFEST).read_bytes(), ResultFiles).files


def encode_rows(rows: Iterable[TrainingRow]) -> bytes:
    """JSONL of training rows."""
    return b"".join(encode_line(row) for row in rows)


def iter_rows(path: Path) -> Iterator[tuple[int, int, TrainingRow]]:
    """Offset in bytes, size in bytes and content of each row of a JSONL file; blank lines are passed over.

    Raises:
        InvalidRequest: a line is not a row; the message names the file and the line.
    """
    offset = 0
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                try:
                    row = msgspec.json.decode(line, type=TrainingRow)
                except msgspec.DecodeError as error:
                    raise InvalidRequest(
                        f"Line {number} of {path.name} is not a training row: {error}.",
                        hint="Each line is a JSON object with `messages`, a list of {role, content}.",
                        line=number,
                    ) from error
                yield offset, len(line), row
            offset += len(line)


def read_rows(path: Path) -> tuple[TrainingRow, ...]:
    """All rows of a JSONL file. Errors as `iter_rows`."""
    return tuple(row for _, _, row in iter_rows(path))
