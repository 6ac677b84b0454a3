"""Lives of a home that end by a kill at one of their phases: `python -m tests.faults.lives HOME PHASE`.

What the home had acknowledged until then is printed as one JSON line before the process kills itself, so its database
has a write-ahead log that nobody has moved into the file.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

from homefire.app import Homefire, build
from homefire.chat.request import ChatRequest, Ended, Principal, Started
from homefire.config.loader import load_settings
from homefire.engines.base import ModelSpec
from homefire.home import Home
from homefire.store.nouns.aliases import AliasMoved
from homefire.store.nouns.versions import GateJudged, VersionPublished
from homefire.store.store import Store
from homefire.types import Message
from homefire.versions.manifest import BaseEntry, Lineage
from tests.support.scripted_engine import ScriptedEngine
from tests.support.whole_home import write_result

PHASES = ("started", "answered", "taught", "publishing", "published", "promoting", "live")


@dataclass
class Acknowledged:
    """What somebody was told is safe."""

    session_id: str = ""
    answer: str = ""
    example_id: str = ""
    version: str = ""
    live: str = "ember"


def live_until(root: Path, phase: str) -> Acknowledged:
    """A home at `root` that was killed at this phase, and what it had acknowledged."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.lives", str(root), phase], capture_output=True, text=True
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    return Acknowledged(**json.loads(done.stdout))


def open_home(root: Path) -> Homefire:
    """The home in this process, with an engine that only looks whether its files are sound."""
    home = Home(root)
    loaded = load_settings(home, overrides={"training.auto": "false"}, environ={})
    return build(loaded, home, make_engine=_engine)


def _engine(spec: ModelSpec) -> Any:
    return ScriptedEngine(spec)


async def _live(root: Path, phase: str) -> None:
    said = Acknowledged()

    def reached(name: str) -> None:
        if name == phase:
            _die(said)

    _at_event(VersionPublished, lambda: reached("publishing"))
    _at_event(AliasMoved, lambda: said.version and reached("promoting"))
    homefire = open_home(root)
    async with homefire.running():
        reached("started")
        request = ChatRequest(
            principal=Principal("local"),
            model="ember",
            messages=(Message("user", "Who are you?"),),
            channel="test",
        )
        async for event in homefire.turns.run(request):
            if isinstance(event, Started):
                session_id = event.session_id
            elif isinstance(event, Ended):
                said.session_id, said.answer = session_id, event.text
        reached("answered")
        given = await homefire.training.correct([Message("user", "Where is the key?")], answer="Here.")
        said.example_id = given.example_id or ""
        reached("taught")
        base = homefire.catalog.resolve("ember").model
        result = root.with_name(f"{root.name}-result")
        write_result(base.folder, result)
        row = await homefire.library.publish(
            result,
            kind="full",
            base=BaseEntry(name="ember", digest=base.digest),
            parent="ember",
            lineage=Lineage(),
        )
        said.version = row.version
        await homefire.store.append(
            GateJudged(version="v001", run_id=None, passed=True, reasons=(), scores={})
        )
        reached("published")
        await homefire.promotion.promote("v001", who="test", why="it is better")
        said.live = "v001"
        reached("live")


def _at_event(kind: type, act: Callable[[], object]) -> None:
    """Call `act` before an event of this kind is recorded."""
    real = Store.append

    async def append(self: Store, *events: Any) -> Any:
        if any(isinstance(event, kind) for event in events):
            act()
        return await real(self, *events)

    Store.append = append  # type: ignore[method-assign]


def _die(said: Acknowledged) -> NoReturn:
    print(json.dumps(asdict(said)), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("killed")


if __name__ == "__main__":
    asyncio.run(_live(Path(sys.argv[1]), sys.argv[2]))
