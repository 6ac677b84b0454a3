"""What a failure of the database means for the store: refuse one append, wait for room, reconnect, or stop for good.

The rule for stopping is PostgreSQL's lesson of 2018: after a failed flush the kernel may report success for a
second one although the bytes are gone. So an I/O error is never retried; the process is restarted and the
database recovers from what is truly on disk.

Each database says of its own errors which `Failure` they are (`Database.failure_of`); what follows from that is here,
alike for both.
"""

from __future__ import annotations

from typing import Literal

from homefire.errors import (
    Conflict,
    CorruptData,
    HomefireError,
    InvalidRequest,
    StoreError,
    StoreFull,
    StorePoisoned,
    StoreReadOnly,
    StoreUnreachable,
)

Failure = Literal[
    "conflict",
    "too_big",
    "refused",
    "full",
    "read_only",
    "busy",
    "slow",
    "no_memory",
    "corrupt",
    "lost",
    "fatal",
]
"""`refused`: only this statement is at fault. `slow`: it took longer than it may. `lost`: the connection is gone.
`fatal`: not known to be harmless."""
REFUSALS: frozenset[Failure] = frozenset({"conflict", "too_big", "refused"})
"""Only the statement's own append is at fault, so that others of its batch may go on."""


def to_homefire_error(failure: Failure, error: Exception) -> HomefireError:
    """The typed error for a failure of the database. StorePoisoned for all that is not known to be harmless."""
    match failure:
        case "conflict":
            return Conflict(f"This contradicts what is recorded already ({_line(error)}).")
        case "too_big":
            return InvalidRequest("This is larger than the database can hold in one row (1 GB).")
        case "full":
            return disk_full()
        case "read_only":
            return StoreReadOnly(
                f"The database cannot be written ({_line(error)}).",
                hint="Make the home directory and the files in it (or the role, on PostgreSQL) able to write, "
                "then start again.",
            )
        case "busy":
            return StoreError(
                "Another program holds the database for longer than store.busy_timeout_ms.",
                hint="Close it (a database browser, a backup), then try again.",
            )
        case "slow":
            return StoreUnreachable(
                "The database server did not answer within store.read_timeout_ms.",
                hint="Look at its load, and at the network between.",
            )
        case "no_memory":
            return StoreError("There was no memory left to write to the database.", hint="Try again.")
        case "lost":
            return unreachable(error)
    return poisoned(_line(error))


def to_refusal(failure: Failure, error: Exception) -> HomefireError:
    """The typed error for the one append whose statement was refused."""
    if failure in ("conflict", "too_big"):
        return to_homefire_error(failure, error)
    return StoreError(f"The database does not take this ({_line(error)}).")


def to_reading_error(failure: Failure, error: Exception) -> HomefireError:
    """The typed error for a read that failed."""
    if failure == "corrupt":
        return CorruptData(
            f"The database is damaged ({_line(error)}).",
            hint="Stop Homefire and restore the database from a backup.",
        )
    if failure in ("busy", "slow", "no_memory", "read_only", "lost"):
        return to_homefire_error(failure, error)
    return StoreError(f"Reading the database failed ({_line(error)}).", hint="Check the disk.")


def disk_full(**details: int) -> StoreFull:
    """Writes pause; reads still work."""
    return StoreFull(
        "The disk is full, so nothing new can be recorded.",
        hint="Free some space: recording continues by itself, and nothing acknowledged is lost.",
        **details,
    )


def poisoned(reason: str) -> StorePoisoned:
    """The store has stopped and must be reopened."""
    return StorePoisoned(
        f"Writing to the database failed ({reason}), so the store stopped to protect what is recorded.",
        hint="Check the disk, then restart Homefire: it recovers everything that was acknowledged.",
    )


def unreachable(error: Exception) -> StoreUnreachable:
    """The connection to the database's server is gone."""
    return StoreUnreachable(
        f"The database server does not answer ({_line(error)}).",
        hint="Start it, or repair the network: Homefire connects again by itself.",
    )


def unknown_outcome() -> StoreUnreachable:
    """The store was closed while the server, asked to commit, did not answer."""
    return StoreUnreachable(
        "Homefire stopped before the database server said whether this was recorded.",
        hint="It is there as a whole or not at all: look after the next start.",
    )


def _line(error: Exception) -> str:
    """What the database said, on one line."""
    return " ".join(str(error).split()).rstrip(".")
