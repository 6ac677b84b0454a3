"""Every request of the corpus is answered, or refused in its dialect naming the field that is to blame."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from homefire.api import openai
from tests.api.corpus import CASES
from tests.api.corpus.cases import Case, pairwise, problem_with
from tests.api.house import close_house, open_house


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """One application for all cases."""
    with asyncio.Runner() as runner:
        house = runner.run(open_house(tmp_path_factory.mktemp("corpus")))
        client: httpx.AsyncClient = house.client()
        try:
            yield lambda case: runner.run(problem_with(case, client))
        finally:
            runner.run(client.aclose())
            runner.run(close_house(house))


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CASES])
def test_a_request_is_answered_or_the_right_field_is_blamed(case: Case, ask: Any) -> None:
    problem = ask(case)
    assert problem is None, f"{problem}\n{json.dumps(case.body)}"


def test_the_corpus_is_large_and_says_nothing_twice() -> None:
    assert len(CASES) >= 600
    asked = [
        (case.method, case.path, json.dumps([case.body, case.headers], sort_keys=True)) for case in CASES
    ]
    assert len(set(asked)) > 0.98 * len(asked)


def test_every_two_values_of_two_fields_meet() -> None:
    factors = [range(3), range(4), range(2)]
    rows = list(pairwise([list(factor) for factor in factors]))
    assert {(a, b) for a, b, _ in rows} == {(a, b) for a in range(3) for b in range(4)}
    assert {(b, c) for _, b, c in rows} == {(b, c) for b in range(4) for c in range(2)}
    assert len(rows) < 3 * 4 * 2


def test_the_corpus_notices_a_field_that_is_ignored_and_one_that_is_blamed_for_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted bugs: `tools` counts for nothing; `tool_choice` is looked at before `tools`."""
    wrong: list[dict[str, Any]] = [
        {name: values for name, values in openai.HARMLESS.items() if name != "tools"},
        {"tool_choice": (), **openai.HARMLESS},
    ]
    cases = [case for case in CASES if case.refused == "tools" and case.path == "/v1/chat/completions"]
    with asyncio.Runner() as runner:
        house = runner.run(open_house(tmp_path))
        client = house.client()
        for harmless in wrong:
            monkeypatch.setattr(openai, "HARMLESS", harmless)
            problems = [runner.run(problem_with(case, client)) for case in cases]
            assert any(problems)
        runner.run(client.aclose())
        runner.run(close_house(house))
