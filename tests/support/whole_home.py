"""A home with a life behind it: a turn, a correction that waits, and version v001 that is live."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from homefire.app import Homefire, build
from homefire.chat.request import ChatRequest, Ended, Principal, Started
from homefire.config.loader import load_settings
from homefire.home import Home
from homefire.store.nouns.versions import GateJudged
from homefire.types import Message
from homefire.versions.manifest import BaseEntry, Lineage

QUESTION = "Who are you?"
CORRECTED = "Where do we keep the spare key?"


@dataclass(frozen=True)
class Acknowledged:
    """What was promised to somebody, and must be there whatever happens."""

    session_id: str
    answer: str
    example_id: str


def make_whole_home(root: Path) -> Acknowledged:
    """Live that life in this process, with the real engine."""
    home = Home(root)
    loaded = load_settings(home, overrides={"training.auto": "false"}, environ={})
    return asyncio.run(_live(build(loaded, home), root.parent / "result"))


async def _live(homefire: Homefire, result: Path) -> Acknowledged:
    async with homefire.running():
        base = homefire.catalog.resolve("ember").model
        write_result(base.folder, result)
        await homefire.library.publish(
            result,
            kind="full",
            base=BaseEntry(name="ember", digest=base.digest),
            parent="ember",
            lineage=Lineage(),
        )
        await homefire.store.append(
            GateJudged(version="v001", run_id=None, passed=True, reasons=(), scores={})
        )
        await homefire.promotion.promote("v001", who="test", why="it is better")
        session_id, answer = "", ""
        request = ChatRequest(
            principal=Principal("local"),
            model="default",
            messages=(Message("user", QUESTION),),
            channel="test",
        )
        async for event in homefire.turns.run(request):
            if isinstance(event, Started):
                session_id = event.session_id
            elif isinstance(event, Ended):
                answer = event.text
        given = await homefire.training.correct([Message("user", CORRECTED)], answer="Under the pot.")
        assert given.example_id is not None
    return Acknowledged(session_id, answer, given.example_id)


def write_result(base: Path, result: Path) -> None:
    """A model folder as a trainer leaves it: ember, with one weight changed a little."""
    result.mkdir()
    for path in base.iterdir():
        if path.name not in ("probes.jsonl", "replay.jsonl", "README.md"):
            data = bytearray(path.read_bytes())
            if path.name == "model.safetensors":
                data[-2] ^= 1
            (result / path.name).write_bytes(data)
