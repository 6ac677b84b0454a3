"""A whole Homefire whose engine answers at once: what is left is the gateway's own cost.

python -m bench.instant_server HOME PORT
"""

from __future__ import annotations

import sys
from pathlib import Path

import uvloop
from tests.support.scripted_engine import ScriptedEngine

from homefire.api.run import open_listener, serve
from homefire.api.server import create_app
from homefire.app import Homefire, build
from homefire.config.loader import load_settings
from homefire.engines.base import Engine, ModelSpec
from homefire.home import Home

ANSWER = "Seven, as it was yesterday and will be tomorrow."


def make_engine(spec: ModelSpec) -> Engine:
    """An engine that has its answer ready."""
    return ScriptedEngine(spec, answer=ANSWER)


async def run(homefire: Homefire) -> None:
    """Serve until SIGTERM."""
    app = create_app(homefire)
    async with homefire.running():
        await serve(app, open_listener(app))


def main() -> None:
    """Put the parts together around the instant engine."""
    home = Home(Path(sys.argv[1]))
    loaded = load_settings(home, overrides={"server.port": sys.argv[2], "training.auto": "false"})
    uvloop.run(run(build(loaded, home, make_engine=make_engine)))


if __name__ == "__main__":
    main()
