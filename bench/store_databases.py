"""The store on SQLite and on PostgreSQL beside each other: appends, a rebuild, reads, and the lines that differ.

python -m bench.store_databases [--turns 1000]

The server is Debian's, on the same machine, behind a Unix socket, with its settings as they come; both flush every
commit. An append is a whole turn: asked and answered. Each figure is the median of three.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.store.samples import whole_turn
from tests.support.postgresql import PostgresServer, find_binaries

from bench.rebuild import TURNS_PER_SESSION, fill
from bench.results import record
from homefire.config.schema import StoreSettings
from homefire.home import Home
from homefire.store.store import Store, open_store
from homefire.world import World

ROUNDS = 3
NUM_APPENDS = 320
NUM_CLIENTS = 32
NUM_READS = 300
STORE = Path(__file__).parents[1] / "src/homefire/store"
ONLY_POSTGRESQL = ("postgresql.py", "postgresql_connection.py")
ONLY_SQLITE = ("sqlite.py", "sqlite_version.py")


def appends_per_s(store: Store, num_clients: int, name: str) -> float:
    """Whole turns a second, each client waiting for its own before it sends the next."""

    async def client(number: int) -> None:
        for count in range(NUM_APPENDS // num_clients):
            await store.append(*whole_turn(f"{name}-{number}-{count}", session=f"{name}-{number}"))

    async def everyone() -> None:
        await asyncio.gather(*(client(number) for number in range(num_clients)))

    began_s = time.perf_counter()
    asyncio.run(everyone())
    return NUM_APPENDS // num_clients * num_clients / (time.perf_counter() - began_s)


def session_read_ms(store: Store) -> float:
    """Milliseconds to read all messages of a session of ten turns."""
    tips = [row.tip_message_id or "" for row in store.sessions.list("local", limit=100)]
    began_s = time.perf_counter()
    for number in range(NUM_READS):
        assert len(store.messages.path(tips[number % len(tips)])) == 2 * TURNS_PER_SESSION
    return (time.perf_counter() - began_s) / NUM_READS * 1000


def rebuilt_turns_per_s(store: Store, num_turns: int) -> float:
    """Turns a second, in wall time: on PostgreSQL two processes work."""
    began_s = time.perf_counter()
    store.rebuild()
    return num_turns / (time.perf_counter() - began_s)


def measure(store: Store, num_turns: int) -> dict[str, float]:
    """All figures of one database."""
    fill(store, num_turns)

    def median(measured: Callable[[int], float]) -> float:
        return statistics.median(measured(number) for number in range(ROUNDS))

    return {
        "rebuild": median(lambda _: rebuilt_turns_per_s(store, num_turns)),
        "read": median(lambda _: session_read_ms(store)),
        "one": median(lambda number: appends_per_s(store, 1, f"one{number}")),
        "many": median(lambda number: appends_per_s(store, NUM_CLIENTS, f"many{number}")),
    }


def count_lines(names: tuple[str, ...] | None = None) -> int:
    """Lines of code and prose of these modules of the store; of all others where None."""
    special = {*ONLY_POSTGRESQL, *ONLY_SQLITE}
    chosen = [
        path for path in STORE.rglob("*.py") if (path.name in names if names else path.name not in special)
    ]
    return sum(len(path.read_text().splitlines()) for path in chosen)


def main() -> int:
    """Measure both and record what is found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=1000)
    num_turns = parser.parse_args().turns
    binaries = find_binaries()
    if binaries is None:
        print("PostgreSQL is not installed (`make system-packages`)", file=sys.stderr)
        return 1
    server = PostgresServer(binaries)
    figures: dict[str, dict[str, float]] = {}
    try:
        with tempfile.TemporaryDirectory() as folder:
            for name, url in (("SQLite", None), ("PostgreSQL", server.url())):
                settings = StoreSettings(url=url, reserve_bytes=0)
                with open_store(Home(Path(folder) / name), settings, World()) as store:
                    figures[name] = measure(store, num_turns)
    finally:
        server.remove()
    command = f"python -m bench.store_databases --turns {num_turns}"

    def row(what: str, key: str, unit: str, *, lower: bool = False) -> None:
        record(
            f"{what}, on PostgreSQL",
            figures["PostgreSQL"][key],
            unit,
            reach="none stated",
            better="lower" if lower else "higher",
            peer="SQLite, the same program",
            peer_value=figures["SQLite"][key],
            command=command,
            area="memory",
        )

    row("whole turns appended by 1 client", "one", "turns/s")
    row(f"whole turns appended by {NUM_CLIENTS} clients", "many", "turns/s")
    row(f"rebuild of the tables of {num_turns:,} turns", "rebuild", "turns/s")
    row("reading a session of ten turns", "read", "ms", lower=True)
    record(
        "lines of the store that know PostgreSQL",
        count_lines(ONLY_POSTGRESQL),
        "lines",
        reach="none stated",
        better="lower",
        peer="lines that know SQLite; the others are for both: " + f"{count_lines():,}",
        peer_value=count_lines(ONLY_SQLITE),
        command=command,
        area="memory",
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
