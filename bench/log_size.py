"""How many bytes a recorded turn takes on disk, and how many times its text that is.

    python -m bench.log_size [--turns 3000] [--chars 320]

A turn's question and answer have `--chars` characters together, cut from the guides of this repository (English
prose with Markdown, UTF-8): half is asked, half is answered, ten turns a session, identifiers, timings and digests as
the server makes them. What is counted is the whole database file after a checkpoint, divided by the bytes of the text.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from pathlib import Path

from bench.results import record
from homefire.config.schema import StoreSettings
from homefire.home import Home
from homefire.sessions.keys import session_key
from homefire.store.noun import body_id
from homefire.store.nouns.conversations import TurnAsked, TurnEnded, message_id
from homefire.store.store import Store, open_store
from homefire.types import Message, Timings, Usage
from homefire.world import World

TURNS_PER_SESSION = 10
GUIDES = Path(__file__).parents[1] / "docs" / "guides"


def texts(num_chars: int) -> itertools.cycle[str]:
    """Pieces of the guides, of this length."""
    prose = " ".join(path.read_text() for path in sorted(GUIDES.glob("*.md")))
    return itertools.cycle(
        prose[start : start + num_chars] for start in range(0, len(prose) - num_chars, num_chars)
    )


def fill(store: Store, num_turns: int, num_chars: int) -> int:
    """Record so many turns; returns the bytes of their text."""
    world, pieces, num_bytes = store.world, texts(num_chars // 2), 0
    for start in range(0, num_turns, TURNS_PER_SESSION):
        session_id, parent, events = world.new_id("ses"), None, []
        for number in range(start, start + TURNS_PER_SESSION):
            turn_id, question, answer = world.new_id("turn"), next(pieces), next(pieces)
            num_bytes += len(question.encode()) + len(answer.encode())
            events.append(
                TurnAsked(
                    turn_id=turn_id,
                    session_id=session_id,
                    session_key=session_key(principal="local", conversation=session_id),
                    principal="local",
                    channel="openai",
                    parent_message_id=parent,
                    messages=(Message("user", question),),
                    requested_model="default",
                    served_model="ember",
                    served_digest="sha256:" + "0af3" * 16,
                    route_reason="default → live → ember",
                )
            )
            ms = [number % 97 / 96 * scale for scale in (0.7, 11.3, 431.0, 14.9)]
            events.append(
                TurnEnded(
                    turn_id=turn_id,
                    outcome="answered",
                    answer=Message("assistant", answer),
                    stop_reason="stop",
                    usage=Usage(prompt_tokens=100 + number % 37, completion_tokens=40 + number % 11),
                    timings=Timings(queue_ms=ms[0], prompt_ms=ms[1], decode_ms=ms[2], first_token_ms=ms[3]),
                )
            )
            parent = message_id(body_id(2 * number + 2, 0))
        store.append_sync(*events)
    return num_bytes


def main() -> None:
    """Measure and record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=3000)
    parser.add_argument("--chars", type=int, default=320)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder) / "home")
        with open_store(home, StoreSettings(), World()) as store:
            num_text_bytes = fill(store, arguments.turns, arguments.chars)
        size_bytes = home.database.stat().st_size
    print(
        f"{size_bytes / arguments.turns:.0f} bytes a turn, {num_text_bytes / arguments.turns:.0f} of them its text"
    )
    record(
        f"database over its text, turns of {arguments.chars} characters (question and answer together)",
        size_bytes / num_text_bytes,
        "ratio",
        reach="<= 3",
        better="lower",
        command=f"python -m bench.log_size --chars {arguments.chars}",
    )


if __name__ == "__main__":
    main()
