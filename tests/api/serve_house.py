"""A house that listens, in a process of its own, until a signal ends it.

python -m tests.api.serve_house FOLDER DELAY_S DRAIN_TIMEOUT_S
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from homefire.api.run import open_listener, serve
from tests.api.house import close_house, open_house, queue_run


async def main() -> None:
    """Print the address when it answers, and `ended` at the end."""
    folder, delay_s, drain_timeout_s = Path(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
    house = await open_house(folder, delay_s=delay_s, port=0, drain_timeout_s=drain_timeout_s)
    await queue_run(house)
    try:
        await serve(house.app, open_listener(house.app), on_ready=lambda url: print(url, flush=True))
    finally:
        await close_house(house)
    print("ended", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
