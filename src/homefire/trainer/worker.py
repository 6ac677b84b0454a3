"""The trainer worker: `python -m homefire.trainer.worker RUN_DIR` trains one run and then ends.

With `--wait` in place of the directory it loads its libraries first and waits for the command that names the run:
so a correction need not wait for them. Either way a process trains one run at most.

Reads commands from stdin and writes events to stdout (see `trainer.contract`); its log goes to stderr. It takes
one thread and the processor time that nobody else wants, and ends with its server. A pause frees its memory:
the process ends, and the next one continues from the checkpoint. Nothing is imported from torch before that is set.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import traceback
from pathlib import Path
from typing import BinaryIO, Literal

import msgspec

from homefire.errors import (
    BadModel,
    ContextOverflow,
    HomefireError,
    InvalidRequest,
    NotTrainable,
    StoreError,
    StoreFenced,
)
from homefire.machine.parent import die_with_parent
from homefire.trainer.contract import (
    LOG_FILE,
    ExitCode,
    Failed,
    Paused,
    Ready,
    RunSpec,
    Skipped,
    Stopped,
    read_spec,
)
from homefire.trainer.control import Control
from homefire.trainer.process_limits import LOWEST_PRIORITY, limit_threads, lower_priority, stay_offline
from homefire.world import World

Reason = Literal["data", "numeric", "disk", "fenced", "model", "memory", "bug"]
_STDIN, _STDOUT, _STDERR = 0, 1, 2


def main(arguments: list[str]) -> int:
    """Train one run; returns the exit code."""
    started_s = time.monotonic()
    parser = argparse.ArgumentParser(prog="python -m homefire.trainer.worker", description="Train one run.")
    parser.add_argument("run_dir", type=Path, nargs="?")
    parser.add_argument("--wait", action="store_true", help="load the libraries, then take a run from stdin")
    parser.add_argument("--threads", type=int, default=1, help="with --wait: threads the run will have")
    parser.add_argument("--nice", type=int, default=LOWEST_PRIORITY, help="with --wait: priority of loading")
    options = parser.parse_args(arguments)
    if options.wait == (options.run_dir is not None):
        parser.error("name the run's directory, or say --wait")
    if not die_with_parent(os.getppid()):
        return ExitCode.ORPHANED
    control = Control(_STDIN, _take_stdout())
    control.listen()
    run_dir: Path = options.run_dir
    if options.wait:
        run_dir = _wait_for_run(control, num_threads=options.threads, nice=options.nice)
        started_s = time.monotonic()
    try:
        spec = read_spec(run_dir)
    except (OSError, msgspec.DecodeError) as error:
        control.emit(_failed("bug", HomefireError(f"The run's spec cannot be read: {error}.")))
        return ExitCode.FAILED
    lower_priority(spec.nice)
    limit_threads(spec.num_threads)
    stay_offline()
    control.beat("loading the libraries")
    return _train(spec, run_dir, control=control, started_s=started_s)


def _wait_for_run(control: Control, *, num_threads: int, nice: int) -> Path:
    """Load what every run needs, then wait for one; from then on this process writes into the run's log."""
    started_s = time.monotonic()
    lower_priority(nice)
    limit_threads(num_threads)
    stay_offline()
    from homefire.trainer.warm_up import warm_up

    warm_up(num_threads)
    control.emit(Ready(load_s=round(time.monotonic() - started_s, 3)))
    run_dir = control.wait_for_run()
    log = os.open(run_dir / LOG_FILE, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, _STDOUT)
    os.dup2(log, _STDERR)
    os.close(log)
    return run_dir


def _train(spec: RunSpec, run_dir: Path, *, control: Control, started_s: float) -> int:
    import torch
    import transformers

    from homefire.trainer.loop import NumericFailure
    from homefire.trainer.trainer import LeaveRequested, Trainer

    torch.set_num_threads(spec.num_threads)
    # On the CPU every operation used here has a form that gives the same bits; elsewhere some may not, and warn.
    torch.use_deterministic_algorithms(True, warn_only=spec.device != "cpu" and torch.cuda.is_available())
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        trainer = Trainer(spec, run_dir, control=control, world=World(), started_s=started_s)
        control.emit(trainer.work())
        return ExitCode.DONE
    except LeaveRequested as leave:
        return _leave(leave.wanted, leave.step, control)
    except StoreFenced as error:
        control.emit(_failed("fenced", error))
        return ExitCode.FENCED
    except NumericFailure as error:
        hint = "Lower training.learning_rate. The last checkpoint and the parent are good."
        control.emit(_failed("numeric", HomefireError(f"Training broke down: {error}.", hint=hint)))
    except HomefireError as error:
        control.emit(_failed(_reason(error), error))
    except (MemoryError, torch.OutOfMemoryError) as error:
        hint = "Lower the recipe's microbatch_tokens, or train with LoRA."
        control.emit(_failed("memory", HomefireError(f"Not enough memory: {error}.", hint=hint)))
    except Exception as error:  # noqa: BLE001 - the last resort: the server must learn why, the log holds where
        traceback.print_exc()
        control.emit(_failed("bug", HomefireError(f"{type(error).__name__}: {error}")))
    return ExitCode.FAILED


def _leave(wanted: str, step: int, control: Control) -> int:
    if wanted == "pause":
        control.emit(Paused(step=step))
        return ExitCode.PAUSED
    if wanted == "stop":
        control.emit(Stopped(step=step))
        return ExitCode.STOPPED
    control.emit(Skipped(step=step))
    return ExitCode.SKIPPED


def _reason(error: HomefireError) -> Reason:
    if isinstance(error, (InvalidRequest, ContextOverflow)):
        return "data"
    if isinstance(error, (BadModel, NotTrainable)):
        return "model"
    return "disk" if isinstance(error, StoreError) else "bug"


def _failed(reason: Reason, error: HomefireError) -> Failed:
    return Failed(
        reason=reason, code=error.code, message=error.message, hint=error.hint, details=error.details
    )


def _take_stdout() -> BinaryIO:
    """Keep the pipe to the server for events alone: whatever else prints, prints into the log."""
    events = os.fdopen(os.dup(_STDOUT), "wb")
    os.dup2(_STDERR, _STDOUT)
    return events


if __name__ == "__main__":
    exit_code = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    # Taking the libraries apart in good order would keep the memory for seconds.
    os._exit(exit_code)
