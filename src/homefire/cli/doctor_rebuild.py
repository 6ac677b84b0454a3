"""`homefire doctor --rebuild`: make damaged tables anew from the log, which is what happened.

Held under the home's lock, so a running server is refused. The log itself is verified first: from a damaged
log nothing is rebuilt. All tables are replaced in one transaction; a rebuild that is killed leaves what was.
Costs about as long as the check of the store, three times.
"""

from __future__ import annotations

from homefire.config.loader import load_settings
from homefire.errors import NotFound, PromiseBroken
from homefire.home import Home
from homefire.store.check import CheckReport
from homefire.store.store import open_store
from homefire.world import World


def rebuild_tables(home: Home) -> CheckReport:
    """Compare the tables with the log and replace them when something differs; what was found before.

    Raises NotFound for a home without a database, HomeInUse, CorruptData for a damaged log, and PromiseBroken
    when something is still wrong afterwards (what is damaged is then not only a table).
    """
    if not home.database.exists():
        raise NotFound(f"{home.root} holds no database: there is nothing to rebuild.", home=str(home.root))
    with open_store(home, load_settings(home).settings.store, World()) as store:
        before = store.check()
        if before.is_sound:
            return before
        store.rebuild()
        after = store.check()
    if not after.is_sound:
        raise PromiseBroken(
            f"The tables were made anew from {after.num_events} events, but this is still wrong: "
            + " ".join(after.problems),
            hint="Do not delete anything. Restore a backup, or report it.",
            differed=list(before.problems),
            problems=list(after.problems),
        )
    return before
