"""A whole Homefire whose engine answers at once: what is left is the gateway's own cost.

    python -m bench.instant_server HOME PORT
"""

from __future__ import annotations

import sys
from pathlib import Path

from homefire.api.run import serve
from homefire.config.loader import load_settings
from homefire.engines.base import Engine, ModelFiles
from homefire.home import Home
from tests.support.scripted_engine import ScriptedEngine

ANSWER = "Seven, as it was yesterday and will be tomorrow."


def make_engine(files: ModelFiles) -> Engine:
    """An engine that has its answer ready."""
    return ScriptedEngine(files, answer=ANSWER)


def main() -> None:
    """Serve until SIGTERM."""
    home = Home(Path(sys.argv[1]))
    loaded = load_settings(home, overrides={"server.port": sys.argv[2], "training.auto": "false"})
    serve(loaded, home, make_engine=make_engine)


if __name__ == "__main__":
    main()
