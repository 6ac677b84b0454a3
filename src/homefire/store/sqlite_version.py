"""Is the SQLite library we are linked to one that can corrupt a WAL database?

Versions 3.7.0 to 3.51.2 can, in a rare race, lose track of a WAL reset when several connections write and
checkpoint at once (fixed in 3.51.3 and in 3.53.0). Homefire's design avoids it (one thread of one
process writes and checkpoints), but another program that opens the database brings it back: hence a warning.
Source: https://www.sqlite.org/releaselog/3_51_3.html
"""

from __future__ import annotations

from homefire.errors import quoted

FIRST_BAD = (3, 7, 0)
LAST_BAD = (3, 51, 2)


def parse_version(text: str) -> tuple[int, int, int]:
    """`"3.40.1"` → `(3, 40, 1)`; missing parts are 0. Raises ValueError for anything else."""
    numbers = [int(part) for part in text.split(".")]
    if not 1 <= len(numbers) <= 4:
        raise ValueError(f"{quoted(text)} is not a SQLite version.")
    major, minor, patch = (*numbers, 0, 0, 0)[:3]
    return major, minor, patch


def has_wal_reset_bug(version: str) -> bool:
    """Whether this version of SQLite is within the corruption range."""
    return FIRST_BAD <= parse_version(version) <= LAST_BAD


def wal_reset_warning(version: str) -> str | None:
    """What to tell the owner about the linked version; None when it is a fixed one."""
    if not has_wal_reset_bug(version):
        return None
    return (
        f"The linked SQLite {version} has the WAL-reset bug (3.7.0 to 3.51.2): a database that several "
        "programs write at once may be damaged. Homefire writes from one thread only; let no other program "
        "open homefire.db while it runs, or install pysqlite3, which brings a fixed SQLite."
    )
