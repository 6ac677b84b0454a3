"""What a failure of SQLite means for the store: refuse one append, wait for room, or stop for good.

The rule for stopping is PostgreSQL's lesson of 2018: after a failed flush the kernel may report success for a
second one although the bytes are gone. So an I/O error is never retried; the process is restarted and the
database recovers from what is truly on disk.
"""

from __future__ import annotations

from homefire.errors import (
    Conflict,
    CorruptData,
    HomefireError,
    InvalidRequest,
    StoreError,
    StoreFull,
    StorePoisoned,
    StoreReadOnly,
)
from homefire.store.driver import driver

# Primary result codes: https://www.sqlite.org/rescode.html
_PERM, _BUSY, _LOCKED, _NOMEM, _READONLY, _IOERR, _CORRUPT, _FULL, _CANTOPEN = 3, 5, 6, 7, 8, 10, 11, 13, 14
_TOOBIG, _CONSTRAINT, _MISMATCH, _MISUSE, _RANGE, _NOTADB = 18, 19, 20, 21, 25, 26
_NOT_FROM_SQLITE, _ERROR = 0, 1
_REFUSALS = frozenset({_NOT_FROM_SQLITE, _ERROR, _TOOBIG, _CONSTRAINT, _MISMATCH, _MISUSE, _RANGE})


def primary_code(error: driver.Error) -> int:
    """SQLite's primary result code; 0 when the error did not come from SQLite itself."""
    return int(getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF


def is_refusal(error: driver.Error) -> bool:
    """Whether only the statement's own append is at fault, so that others of its batch may go on."""
    return primary_code(error) in _REFUSALS


def is_corruption(error: driver.Error) -> bool:
    """Whether the file is not (any more) a valid database."""
    return primary_code(error) in (_CORRUPT, _NOTADB)


def to_homefire_error(error: driver.Error) -> HomefireError:
    """The typed error for a failure of SQLite. StorePoisoned for all that is not known to be harmless."""
    code = primary_code(error)
    if code == _CONSTRAINT:
        return Conflict(f"This contradicts what is recorded already ({error}).")
    if code == _TOOBIG:
        return InvalidRequest("This is larger than the database can hold in one row (1 GB).")
    if code == _FULL:
        return disk_full()
    if code in (_READONLY, _PERM, _CANTOPEN):
        return StoreReadOnly(
            f"The database cannot be written ({error}).",
            hint="Make the home directory and the files in it writable for this user, then start again.",
        )
    if code in (_BUSY, _LOCKED):
        return StoreError(
            "Another program holds the database for longer than store.busy_timeout_ms.",
            hint="Close it (a database browser, a backup), then try again.",
        )
    if code == _NOMEM:
        return StoreError("There was no memory left to write to the database.", hint="Try again.")
    return poisoned(str(error))


def to_refusal(error: driver.Error) -> HomefireError:
    """The typed error for the one append whose statement was refused."""
    if primary_code(error) in (_CONSTRAINT, _TOOBIG):
        return to_homefire_error(error)
    return StoreError(f"The database does not take this ({error}).")


def to_reading_error(error: driver.Error) -> HomefireError:
    """The typed error for a read that failed."""
    if is_corruption(error):
        return CorruptData(
            f"The database is damaged ({error}).",
            hint="Stop Homefire and restore the database from a backup.",
        )
    if primary_code(error) in (_BUSY, _LOCKED, _NOMEM, _READONLY, _PERM, _CANTOPEN):
        return to_homefire_error(error)
    return StoreError(f"Reading the database failed ({error}).", hint="Check the disk.")


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
