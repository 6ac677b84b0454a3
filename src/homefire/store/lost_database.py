"""A home whose database is gone or empty, although its files are there: refused, so that no new one begins in silence.

SQLite makes a missing database without a word, and deletes the write-ahead log of one that is not there. Both would
turn a lost file into a lost home.
"""

from __future__ import annotations

from pathlib import Path

from homefire.errors import CorruptData
from homefire.home import Home
from homefire.store.witness import read_witness


def why_database_is_lost(home: Home, *, has_tables: bool = True) -> str | None:
    """A sentence where the home's database must have been there once and is not; None where all is well.

    `has_tables=False`: it was opened, and there is nothing in it.
    """
    database = home.database
    if database.exists() and not database.is_file():
        return f"{database} is not a file."
    if has_tables and database.is_file() and database.stat().st_size:
        return None
    witnessed = read_witness(home.witness).tail
    if witnessed is not None:
        return f"The database {database} is gone or empty, and {witnessed.seq} events were recorded in it."
    evidence = _evidence(home)
    if evidence is None:
        return None  # a home that was never started, or was killed in its first start
    return f"The database {database} is {'empty' if database.exists() else 'gone'}, but {evidence} is there."


def refuse_lost_database(home: Home, *, has_tables: bool = True) -> None:
    """CorruptData where opening the database would begin a new one over the files of an old one."""
    why = why_database_is_lost(home, has_tables=has_tables)
    if why is not None:
        raise CorruptData(
            why,
            hint="Restore homefire.db, with the -wal file of the same moment, from a backup. "
            "To start over, move the home away.",
            path=str(home.database),
        )


def _evidence(home: Home) -> Path | None:
    """Something that only exists after the database did."""
    log = home.database.with_name(home.database.name + "-wal")
    if log.is_file() and log.stat().st_size:
        return log
    places = (home.blobs, home.versions, home.runs, home.base_models)
    found = (path for place in places if place.is_dir() for path in sorted(place.iterdir()))
    return next((path for path in found if not path.name.startswith(".")), None)
