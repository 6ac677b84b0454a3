"""The SQLite library in use: the one bundled with `pysqlite3` (fixed, recent), else Python's own.

Both are the same DB-API module with the same class names; everything in `store/` imports it from here, so
that an exception caught is of the library that raised it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3 as driver
else:
    try:
        import pysqlite3 as driver
    except ImportError:
        import sqlite3 as driver

Connection = driver.Connection

__all__ = ["Connection", "driver"]
