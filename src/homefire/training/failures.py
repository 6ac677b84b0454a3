"""What went wrong with a worker, and what to do about it. Pure.

Rows that cannot be trained, values that became NaN and a broken model do not get better by repetition: the
run fails at once. A crash, a hang, a lack of memory or disk may: the run is resumed from its checkpoint after
a pause that grows. What ends a crash loop is the number of attempts in a row *without a new checkpoint*: a
run that moves on between crashes may crash as often as it likes. A worker that somebody else killed is not
to blame, so it gets many more attempts.
"""

from __future__ import annotations

import errno
from typing import Literal

import msgspec

from homefire.errors import StoreError, StoreFull
from homefire.trainer.contract import Failed

Kind = Literal[
    "data", "numeric", "model", "disk", "memory", "bug", "crash", "hang", "killed", "fenced",
]  # fmt: skip

HOPELESS: frozenset[Kind] = frozenset({"data", "numeric", "model"})
FIRST_PAUSE_S: dict[Kind, float] = {"disk": 5.0, "memory": 5.0}
"""Other kinds: `FIRST_PAUSE_OTHER_S`. Doubled with each attempt up to `MAX_PAUSE_S`."""
FIRST_PAUSE_OTHER_S = 0.25
MAX_PAUSE_S = 60.0
KILLED_FACTOR = 10
"""A worker that was killed from outside gets so many times `max_attempts`."""

_OUTSIDE_SIGNALS = frozenset({-9, -15, -2, -1})
"""Signals that others send (KILL, TERM, INT, HUP), as return codes."""


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """Why a worker ended without a result."""

    kind: Kind
    message: str
    unusable: dict[str, str] = {}
    """Examples that cannot be trained on, each with a sentence why: the others can."""


class Retry(msgspec.Struct, frozen=True):
    """Queue the run again and start it after this pause."""

    pause_s: float


class GiveUp(msgspec.Struct, frozen=True):
    """The run has failed, for this reason."""

    why: str


def decide(failure: Failure, *, attempts: int, max_attempts: int) -> Retry | GiveUp:
    """`attempts` counts failures in a row without a new checkpoint, this one included."""
    if failure.kind in HOPELESS:
        return GiveUp(failure.message)
    limit = max_attempts * (KILLED_FACTOR if failure.kind == "killed" else 1)
    if attempts >= limit:
        return GiveUp(
            f"{attempts} attempts in a row failed without progress, the last one so: {failure.message}"
        )
    first_s = FIRST_PAUSE_S.get(failure.kind, FIRST_PAUSE_OTHER_S)
    return Retry(min(first_s * 2 ** min(attempts - 1, 16), MAX_PAUSE_S))


SHORTAGES = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN})
"""The machine lacks something for everyone: whoever waits may go on when it is there again."""


def is_shortage(problem: BaseException) -> bool:
    """Whether this says nothing about a run, but only that the machine is short of something now."""
    cause: BaseException | None = problem
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in SHORTAGES:
            return True
        cause = cause.__cause__
    return isinstance(problem, StoreFull)


def as_store_error(problem: OSError) -> StoreError:
    """An operating system's refusal that nobody translated, as an error for people."""
    what = problem.strerror or str(problem)
    where = f" ({problem.filename})" if problem.filename else ""
    hint = (
        "Raise the limit of open files (ulimit -n)."
        if problem.errno in (errno.EMFILE, errno.ENFILE)
        else None
    )
    error = StoreError(f"The system refused an operation: {what}{where}.", hint=hint)
    error.__cause__ = problem
    return error


def from_event(event: Failed) -> Failure:
    """What the worker itself reported."""
    hint = f" {event.hint}" if event.hint else ""
    unusable = {str(name): str(why) for name, why in dict(event.details.get("unusable", {})).items()}
    return Failure(kind=event.reason, message=f"{event.message}{hint}", unusable=unusable)


def from_exit(return_code: int, *, out_of_memory: bool, stderr_tail: str = "") -> Failure:
    """A worker that ended without a result; `out_of_memory` if the kernel killed some process for memory.

    `stderr_tail` is the last line it wrote to its log.
    """
    words = f" It said: {stderr_tail}" if stderr_tail else ""
    if out_of_memory and return_code == -9:
        return Failure(kind="memory", message="The trainer was killed because memory ran out.")
    if return_code in _OUTSIDE_SIGNALS:
        return Failure(kind="killed", message=f"The trainer was killed by signal {-return_code}.")
    if return_code < 0:
        return Failure(kind="crash", message=f"The trainer crashed with signal {-return_code}.{words}")
    message = f"The trainer ended with exit code {return_code} and no result.{words}"
    return Failure(kind="crash", message=message)
