"""A request with its expected outcome, and the combination of tables into requests."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.api.dialects import DIALECTS, put

ANSWER = "Hello there, I am scripted."
Body = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """One request. `refused` names the field to blame; None: it is answered."""

    name: str
    path: str
    body: Any = None
    refused: str | None = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    method: str = "POST"
    answer: str | None = ANSWER
    """None: the shape of the answer is checked by a test of its own."""


async def problem_with(case: Case, client: httpx.AsyncClient) -> str | None:
    """What is wrong with the response; None where it is as it must be."""
    content = None if case.body is None else json.dumps(case.body)
    headers = {"content-type": "application/json", **case.headers}
    headers = {name: value for name, value in headers.items() if value}
    response = await client.request(case.method, case.path, content=content, headers=headers)
    if response.status_code != case.status:
        return f"{response.status_code} instead of {case.status}: {response.text}"
    if case.method == "HEAD":
        return None if not response.content else "a body"
    dialect = next((known for known in DIALECTS.values() if known.path == case.path), None)
    if case.refused is not None:
        return _problem_with_refusal(case, response)
    if case.answer is None or dialect is None:
        return None
    streamed = response.headers["content-type"] != "application/json"
    said = dialect.streamed_text(response.text) if streamed else dialect.text(response.json())
    return None if said == case.answer else f"it says {said!r}"


def _problem_with_refusal(case: Case, response: httpx.Response) -> str | None:
    document, named = response.json(), case.refused
    assert named is not None
    if case.path.startswith("/api/"):
        message = document["error"]
        return None if isinstance(message, str) and _names(message, named) else f"it says {message!r}"
    inner = document["error"]
    if "param" in inner:
        blamed = inner["param"]
        return None if blamed == named else f"it blames {blamed!r}: {inner['message']}"
    if document.get("type") != "error" or set(inner) != {"type", "message"}:
        return f"not an error of the dialect: {document}"
    return None if _names(inner["message"], named) else f"it says {inner['message']!r}"


def _names(message: str, field: str) -> bool:
    return f"{field!r}" in message or message.startswith((f"{field} ", f"{field}:"))


def merged(*pieces: Body) -> Body:
    """One body of several pieces; a name with dots goes inside."""
    body: Body = {}
    for piece in pieces:
        for name, value in piece.items():
            put(body, name, value)
    return json.loads(json.dumps(body))  # type: ignore[no-any-return]  # nothing is shared between cases


def pairwise(factors: Sequence[Sequence[Any]]) -> Iterator[tuple[Any, ...]]:
    """Rows with one value of each factor, such that every two values of two factors meet in a row.

    Greedy: each row starts from a pair that has not met, and takes of every other factor the value that makes
    most new pairs.
    """
    open_pairs = {
        (one, first, two, second)
        for one, two in itertools.combinations(range(len(factors)), 2)
        for first in range(len(factors[one]))
        for second in range(len(factors[two]))
    }

    def new(row: dict[int, int], factor: int, value: int) -> int:
        return sum(_pair(factor, value, other, chosen) in open_pairs for other, chosen in row.items())

    while open_pairs:
        one, first, two, second = min(open_pairs)
        row = {one: first, two: second}
        for factor in sorted(set(range(len(factors))) - set(row), key=lambda index: -len(factors[index])):
            values = range(len(factors[factor]))
            row[factor] = max(values, key=lambda value: (new(row, factor, value), -value))
        open_pairs -= {_pair(*a, *b) for a, b in itertools.combinations(row.items(), 2)}
        yield tuple(factors[index][row[index]] for index in range(len(factors)))


def _pair(one: int, first: int, two: int, second: int) -> tuple[int, int, int, int]:
    return (one, first, two, second) if one < two else (two, second, one, first)


def answered(path: str, clients: dict[str, Any], shapes: dict[str, Body], *factors: list[Body]) -> list[Case]:
    """Cases over clients, shapes of messages and fields, every two of them together."""
    rows = pairwise([list(clients.items()), list(shapes.items()), *factors])
    return [
        Case(f"{path}:{client}:{shape}:{number}", path, merged(always, body, *pieces), headers=headers)
        for number, ((client, (headers, always)), (shape, body), *pieces) in enumerate(rows)
    ]


def refused(
    path: str, clients: dict[str, Any], base: Body, table: list[tuple[str, Body]], *, both: tuple[Body, Body]
) -> list[Case]:
    """Cases of one field each that is to be blamed, plain and streamed, the clients in turn."""
    turn = itertools.cycle(clients.items())
    cases = []
    for number, (blamed, piece) in enumerate(table):
        for way in both:
            client, (headers, always) = next(turn)
            body = merged(always, base, way, piece)
            cases.append(Case(f"{path}:{client}:refused {blamed}:{number}", path, body, blamed, 400, headers))
    return cases
