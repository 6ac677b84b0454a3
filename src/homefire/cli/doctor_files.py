"""The doctor's checks of the files of a home: its database is there, models and versions are what was registered,
and what lies among them is Homefire's.

They need the home to themselves: while a server runs they leave it to that one, which reads all files in turn.
Without `full` a file counts when it is there; with it every byte is hashed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from homefire.cli.doctor_checks import Check, CheckFunction, fail, passed, warn
from homefire.home import Home
from homefire.store.lock import lock_holder
from homefire.store.store import Store

MAX_NAMED = 5


def file_checks(home: Home, *, full: bool) -> dict[str, CheckFunction]:
    """Name → check."""
    return {
        "models": partial(check_models, home, full=full),
        "versions": partial(check_versions, home, full=full),
        "files": partial(check_files, home),
    }


@contextmanager
def opened(home: Home) -> Iterator[Store | str]:
    """The store of a home that nobody uses; else a sentence why it is not looked at. Raises as `open_store`."""
    from homefire.config.loader import load_settings
    from homefire.store.database import choose_database
    from homefire.store.lost_database import why_database_is_lost
    from homefire.store.store import open_store
    from homefire.world import World

    pid = lock_holder(home)
    if pid is not None:
        yield f"in use by process {pid}, which checks its files when it uses them"
        return
    settings = load_settings(home).settings.store
    database = choose_database(home, settings)
    is_lost = not database.is_remote and why_database_is_lost(home) is not None
    if not is_lost and not database.exists():
        yield "empty: this home was never started"
        return
    with open_store(home, settings, World(), database=database) as store:
        yield store


def check_models(home: Home, *, full: bool) -> Check:
    """The files of the base models are there and, with `full`, what was registered."""
    from homefire.catalog.file_hashes import find_damage, has_hash

    with opened(home) as store:
        if isinstance(store, str):
            return passed(store)
        rows = store.models.list()
    damaged = {
        row.name: damage
        for row in rows
        if (damage := find_damage(home.root / row.path, row.files, is_sound=has_hash if full else _is_there))
    }
    if not damaged:
        return passed(f"{len(rows)} base models, {'every byte hashed' if full else 'all files there'}")
    return fail(
        "; ".join(f"{name}: {problems[0]}" for name, problems in list(damaged.items())[:MAX_NAMED]),
        why="A damaged model is not used: what asks for it gets an error.",
        todo="Add it again from a good copy: " + _add_again(next(iter(damaged))),
    )


def _add_again(name: str) -> str:
    from homefire.bundled import ember_path
    from homefire.catalog.models import BUNDLED

    place = str(ember_path()) if name == BUNDLED else "PATH"
    return f"`homefire models add {place} --name {name}`."


def check_versions(home: Home, *, full: bool) -> Check:
    """The files and blobs of the versions are there and, with `full`, what was published."""
    import asyncio

    from homefire.versions.library import Library
    from homefire.world import World

    with opened(home) as store:
        if isinstance(store, str):
            return passed(store)
        library = Library(home, store, World())
        rows = library.all()
        if full:
            reports = [asyncio.run(library.verify(row.version)) for row in rows]
            damaged = {
                report.version: [str(problem) for problem in report.problems]
                for report in reports
                if not report.ok
            }
        else:
            damaged = {row.version: gone for row in rows if (gone := library.find_missing(row))}
    if not damaged:
        return passed(f"{len(rows)} versions, {'every byte hashed' if full else 'all files and blobs there'}")
    first = next(iter(damaged))
    return fail(
        "; ".join(f"{name}: {problems[0]}" for name, problems in list(damaged.items())[:MAX_NAMED]),
        why="What is left in only one place is lost with it; a version that is whole in none is not used.",
        todo=f"Start Homefire and run `homefire versions verify {first} --repair`.",
    )


def check_files(home: Home) -> Check:
    """What lies in the home is in its log."""
    from homefire.versions.library import Library
    from homefire.versions.strays import find_strays
    from homefire.world import World

    with opened(home) as store:
        if isinstance(store, str):
            return passed(store)
        strays = find_strays(home, store, Library(home, store, World()))
    ours = [stray.path for stray in strays if stray.is_ours]
    if ours:
        return fail(
            f"not in the database: {_named(home, ours)}",
            why="The database is older than these files, as after restoring a backup of it alone.",
            todo="Restore the database of the same time. Versions that are whole are taken up at the next start, "
            "without what the log said of them.",
        )
    if strays:
        return warn(
            f"not Homefire's: {_named(home, [stray.path for stray in strays])}",
            why="Homefire leaves alone what it did not write, and does not use it.",
            todo="Move it away if it is not needed there.",
        )
    return passed("nothing that is not in the database")


def _named(home: Home, paths: list[Path]) -> str:
    named = ", ".join(str(path.relative_to(home.root)) for path in paths[:MAX_NAMED])
    more = len(paths) - MAX_NAMED
    return f"{named} and {more} more" if more > 0 else named


def _is_there(path: Path, sha256: str) -> bool:
    with path.open("rb"):
        return True
