"""Promise 1, acknowledged means durable: a process is killed with -9 while it appends."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from homefire.errors import CorruptData
from homefire.home import Home
from homefire.store.store import Store
from tests.store.backends import Backend
from tests.store.conftest import Opener

LAZY_COMMIT = """
from homefire.store import postgresql, sqlite

def plant(kind):
    '''Acknowledges at once and commits every fiftieth time: the planted bug.'''
    begin, commit, num_commits = kind.begin, kind.commit, itertools.count(1)

    def lazy_begin(self, connection, *, is_new=False):
        if not connection.in_transaction:
            begin(self, connection, is_new=is_new)

    def lazy_commit(self, connection):
        number = next(num_commits)
        if number <= 3 or number % 50 == 0:
            commit(self, connection)

    kind.begin, kind.commit = lazy_begin, lazy_commit

plant(sqlite.SQLite)
plant(postgresql.PostgreSQL)
"""

IMPORTS = "import asyncio, itertools, json, sys\n"
CHILD = """
from pathlib import Path
from homefire.config.schema import StoreSettings
from homefire.home import Home
from homefire.store.store import open_store
from homefire.world import World
from tests.store.samples import turn

async def main():
    store = open_store(Home(Path(sys.argv[1])), StoreSettings(**json.loads(sys.argv[2])), World())
    first = store.last_seq
    async def append_on(lane):
        for number in itertools.count():
            name = f"{first}-{lane}-{number}"
            await store.append(turn(name, session=name))
            print(name, flush=True)
    await asyncio.gather(*(append_on(lane) for lane in range(3)))

asyncio.run(main())
"""


def kill_after(home: Home, backend: Backend, num_acknowledged: int, *, plant: str = "") -> list[str]:
    """Run the child, kill it after that many acknowledgements; returns all it had printed."""
    child = subprocess.Popen(
        [
            sys.executable, "-c", IMPORTS + plant + CHILD, str(home.root),
            json.dumps({"reserve_bytes": 0, **backend.settings}),
        ],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert child.stdout is not None
    with child.stdout as output:
        names = [output.readline().strip() for _ in range(num_acknowledged)]
        child.send_signal(signal.SIGKILL)
        # A line the kill cut short was not acknowledged.
        names += [line.strip() for line in output if line.endswith("\n")]
    assert child.wait() == -signal.SIGKILL
    assert all(names)
    return names


def missing(store: Store, names: list[str]) -> list[str]:
    return [name for name in names if store.turns.get(f"turn-{name}") is None]


def test_every_acknowledged_append_is_there_after_kills(
    home: Home, backend: Backend, open_here: Opener
) -> None:
    names: list[str] = []
    for num_acknowledged in (1, 20, 77):
        names += kill_after(home, backend, num_acknowledged)
        store = open_here()
        assert missing(store, names) == []
        assert store.check(full=True).is_sound
        store.close()
    assert len(names) >= 98


@pytest.mark.parametrize("num_acknowledged", [75])
def test_planted_bug_acknowledging_before_the_commit_is_noticed(
    home: Home, backend: Backend, open_here: Opener, num_acknowledged: int
) -> None:
    names = kill_after(home, backend, num_acknowledged, plant=LAZY_COMMIT)
    with contextlib.suppress(CorruptData):  # the witness knows of events that no commit holds
        assert missing(open_here(), names)
