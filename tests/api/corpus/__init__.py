"""Requests as official and third-party clients send them, with what must become of each.

    answered   in the dialect, whole or as a stream, with the text of the engine
    refused    in the dialect's shape, with the status and the name of the field that is to blame

The tables (`openai.py`, `anthropic.py`, `ollama.py`, `routes.py`) say which values of which fields clients send;
`pairwise` combines them so that every two of them meet. A request holds at most one thing to refuse, so that its
name is certain. `count_right` runs all of them against one application with a scripted engine.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from tests.api.corpus import anthropic, ollama, openai, routes
from tests.api.corpus.cases import Case, problem_with
from tests.api.house import close_house, open_house

CASES: tuple[Case, ...] = (*openai.CASES, *anthropic.CASES, *ollama.CASES, *routes.CASES)


def count_right() -> tuple[int, int]:
    """Cases, and those of them that were answered or refused as they must be."""

    async def run(root: Path) -> int:
        house = await open_house(root, answer=routes.ANSWER)
        try:
            async with house.client() as client:
                return sum([await problem_with(case, client) is None for case in CASES])
        finally:
            await close_house(house)

    with tempfile.TemporaryDirectory() as folder:
        return len(CASES), asyncio.run(run(Path(folder)))
