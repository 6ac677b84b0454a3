"""How fast the tables are folded anew from a log of many turns.

python -m bench.rebuild [--turns 10000]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from tests.store.samples import whole_turn

from bench.results import record
from homefire.config.schema import StoreSettings
from homefire.home import Home
from homefire.store.noun import body_id
from homefire.store.nouns.conversations import message_id
from homefire.store.store import Store, open_store
from homefire.world import World

TURNS_PER_SESSION = 10
TURNS_PER_APPEND = 100


def fill(store: Store, num_turns: int) -> None:
    """Sessions of ten turns each."""
    for start in range(0, num_turns, TURNS_PER_APPEND):
        events = []
        for number in range(start, min(start + TURNS_PER_APPEND, num_turns)):
            previous = message_id(body_id(2 * number, 0))
            place = {"parent_message_id": previous} if number % TURNS_PER_SESSION else {}
            events += whole_turn(str(number), session=f"s{number // TURNS_PER_SESSION}", **place)
        store.append_sync(*events)


def main() -> None:
    """Fill a store, rebuild it, record turns per CPU-second."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=10_000)
    num_turns = parser.parse_args().turns
    with (
        tempfile.TemporaryDirectory() as folder,
        open_store(Home(Path(folder) / "home"), StoreSettings(), World()) as store,
    ):
        fill(store, num_turns)
        began_s = time.process_time()
        store.rebuild()
        taken_s = time.process_time() - began_s
    record(
        f"rebuild of the tables from a log of {num_turns:,} turns",
        num_turns / taken_s,
        "turns per CPU-second",
        reach="20000",
        better="higher",
        command=f"python -m bench.rebuild --turns {num_turns}",
    )


if __name__ == "__main__":
    main()
