"""Embeddings: many texts in one call with exact counts, and a text that is too long is the client's error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.api.house import CONTEXT_LENGTH, close_house, open_house
from tests.support.scripted_engine import ScriptedEngine


async def embed(root: Path, texts: list[str]) -> httpx.Response:
    house = await open_house(root)
    try:
        transport = httpx.ASGITransport(house.app)
        headers = {"Authorization": f"Bearer {house.key}"}
        async with httpx.AsyncClient(
            transport=transport, base_url="http://127.0.0.1:8765", headers=headers
        ) as client:
            return await client.post("/v1/embeddings", json={"model": "ember", "input": texts})
    finally:
        await close_house(house)


async def test_many_texts_are_one_call_with_their_tokens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    usual = ScriptedEngine.embed

    async def counted(self: ScriptedEngine, texts: Any) -> Any:
        calls.append(len(texts))
        return await usual(self, texts)

    monkeypatch.setattr(ScriptedEngine, "embed", counted)
    answer = await embed(tmp_path, ["one two", "three", "four five six"])
    assert answer.status_code == 200
    assert [row["index"] for row in answer.json()["data"]] == [0, 1, 2]
    assert answer.json()["usage"] == {"prompt_tokens": 6, "total_tokens": 6}
    assert calls == [3]


async def test_a_text_that_is_too_long_is_refused_with_figures(tmp_path: Path) -> None:
    answer = await embed(tmp_path, ["short", "word " * (CONTEXT_LENGTH + 5)])
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "context_length_exceeded"
    assert str(CONTEXT_LENGTH) in answer.json()["error"]["message"]
