"""Whose is what: every route of the live table × its owner, another key, and no key at all.

Each route has a line in `POLICIES`; a new one without a line fails, and what the line says is tried.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import httpx
import pytest
from fastapi.routing import iter_route_contexts
from starlette.routing import Mount

from homefire.api import native_sessions, native_turns
from homefire.chat import position, turn
from homefire.store.api_keys import create_key
from homefire.training import corrections
from homefire.web import views
from homefire.web.routes import add_pages
from homefire.world import World
from tests.api.house import LOCAL, REMOTE, RUN, House, close_house, open_house, queue_run

SECRET = "my own words"
Kind = Literal["open", "home", "own", "list", "owner"]
POLICIES: dict[str, dict[str, Kind]] = {
    # Answered without a key.
    "open": dict.fromkeys(
        ["GET /health", "GET /login", "POST /login", "POST /logout"], "open"
    ),
    # The home's: everybody with a key sees the same.
    "home": dict.fromkeys(
        [
            "GET /", "GET /openapi.json",
            "GET /info", "GET /version", "GET /metrics", "GET /v1/status", "GET /v1/config",
            "POST /v1/chat/completions", "POST /v1/messages", "POST /v1/messages/count_tokens",
            "POST /api/chat", "POST /api/generate", "GET /v1/models", "GET /v1/models/{model}",
            "POST /v1/embeddings", "POST /api/embed", "POST /api/embeddings", "GET /api/tags",
            "GET /api/ps", "POST /api/show", "GET /api/version",
            "POST /v1/corrections", "GET /v1/queue", "GET /v1/runs", "POST /v1/runs", "GET /v1/runs/{run_id}",
            "GET /v1/runs/{run_id}/events", "POST /v1/runs/{run_id}/{move}", "GET /v1/versions",
            "GET /v1/versions/compare", "POST /v1/versions/rollback", "GET /v1/versions/{version}",
            "POST /v1/versions/{version}/promote", "POST /v1/versions/{version}/verify",
            "DELETE /v1/versions/{version}", "GET /v1/homefire/models", "POST /v1/homefire/models",
            "POST /v1/homefire/models/{name}/verify", "POST /v1/homefire/models/{name}/check",
            "DELETE /v1/homefire/models/{name}", "GET /v1/route",
            "GET /v1/homefire/models/{name}",
            "GET /runs", "GET /runs/{run_id}", "GET /web/runs/{run_id}/progress",
            "POST /web/runs/{run_id}/{action}", "GET /versions",
            "POST /web/versions/rollback", "POST /web/versions/{name}/promote",
            "POST /web/versions/{name}/verify", "POST /web/ask",
        ],
        "home",
    ),
    # One's own: for everybody else it does not exist.
    "own": dict.fromkeys(
        [
            "GET /v1/sessions/{session_id}", "GET /v1/sessions/{session_id}/export", "POST /v1/chat",
            "POST /v1/feedback", "GET /chat/{session_id}", "POST /web/turns/{turn_id}/regenerate",
            "POST /web/turns/{turn_id}/verdict", "GET /web/turns/{turn_id}/correction",
            "POST /web/turns/{turn_id}/correction", "GET /web/turns/{turn_id}/events",
            "POST /web/turns/{turn_id}/stop", "GET /web/turns/{turn_id}/corrected",
            "GET /v1/turns/{turn_id}", "GET /v1/turns/{turn_id}/events", "POST /v1/turns/{turn_id}/cancel",
            "GET /v1/corrections/{example_id}", "PATCH /v1/corrections/{example_id}",
            "DELETE /v1/corrections/{example_id}", "POST /v1/corrections/{example_id}/retry",
            "DELETE /v1/sessions/{session_id}", "DELETE /v1/turns/{turn_id}", "DELETE /v1/messages/{message_id}",
            "GET /web/turns/{turn_id}", "GET /web/corrections/{example_id}",
            "GET /web/corrections/{example_id}/edit", "GET /web/corrections/{example_id}/learning",
            "POST /web/corrections/{example_id}/edit", "POST /web/corrections/{example_id}/retry",
            "POST /web/corrections/{example_id}/withdraw", "GET /chat/{session_id}/erase",
            "POST /chat/{session_id}/erase",
        ],
        "own",
    ),
    # A list of one's own things.
    "list": dict.fromkeys(["GET /v1/sessions", "GET /v1/corrections", "GET /corrections"], "list"),
    # For the owner of the home alone.
    "owner": dict.fromkeys(
        [
            "GET /v1/keys", "POST /v1/keys", "DELETE /v1/keys/{key_id}", "POST /v1/corrections/{example_id}/settle",
            "POST /web/corrections/{example_id}/settle",
        ],
        "owner",
    ),
}  # fmt: skip
KIND_OF = {route: kind for routes in POLICIES.values() for route, kind in routes.items()}


@dataclass
class Homes:
    """One house, its owner's session, and three who ask."""

    house: House
    session_id: str
    turn_id: str
    message_id: str
    example_ids: dict[str, str]
    """By method, or the last part of the path: what one does to a correction is not in another's way."""
    other_key: str

    def client(self, who: str) -> httpx.AsyncClient:
        """The first key is whose session it is; `other` has a key too, `local` none on loopback."""
        keys = {"first": self.house.key, "other": self.other_key}
        headers = {"x-api-key": keys[who]} if who in keys else {}
        return self.house.client(LOCAL if who == "local" else REMOTE, headers=headers)


async def open_homes(root: Path) -> Homes:
    house = await open_house(root)
    add_pages(house.app)
    await queue_run(house)
    other, created = create_key(World(), name="other")
    await house.store.append(created)
    async with house.client(REMOTE, headers={"x-api-key": house.key}) as client:
        turn = (await client.post("/v1/chat", json={"message": SECRET})).json()
        examples = {}
        for method in ("GET", "PATCH", "DELETE", "POST", "edit", "withdraw"):
            taught = {"prompt": f"{SECRET} {method}", "answer": "x"}
            examples[method] = (await client.post("/v1/corrections", json=taught)).json()["example_id"]
    return Homes(house, turn["session_id"], turn["turn_id"], turn["message_id"], examples, other)


def routes(app: Any) -> Iterator[tuple[str, str]]:
    """(method, path template) of all that the application answers; HEAD is GET."""
    for route in iter_route_contexts(app.routes):
        if not isinstance(route.original_route, Mount):
            for method in route.methods or ():
                if method != "HEAD":
                    yield method, str(route.path)


def asked_for(homes: Homes, method: str, path: str) -> list[dict[str, Any]]:
    """The requests that name somebody's own things at this route, as arguments of `client.request`."""
    action = path.rpartition("/")[2] if method == "POST" else method
    example_id = homes.example_ids.get(action) or homes.example_ids[method]
    url = path.format(
        session_id=homes.session_id, turn_id=homes.turn_id, example_id=example_id, message_id=homes.message_id
    )
    if method == "DELETE" and "corrections" not in path:
        return [{"url": url, "json": {"dry_run": True}}]
    if path == "/v1/chat":
        return [
            {"url": url, "json": {"message": "go on", "session_id": homes.session_id}},
            {"url": url, "json": {"replaces_turn_id": homes.turn_id}},
        ]
    if path == "/v1/feedback":
        given = {"turn_id": homes.turn_id, "verdict": "correction", "text": "theirs"}
        return [
            {"url": url, "json": {**given}},
            {"url": url, "json": {**given, "verdict": "good", "text": None}},
        ]
    if method == "PATCH":
        return [{"url": url, "json": {"answer": "theirs"}}]
    if method == "POST" and path.startswith("/v1/"):
        return [{"url": url, "json": {}}]
    if method == "POST":
        form = {"verdict": "good", "text": "theirs", "question": "theirs", "answer": "theirs"}
        return [{"url": url, "data": form, "headers": {"hx-request": "true"}}]
    return [{"url": url}]


async def check(homes: Homes) -> None:
    """The matrix; asserts on the first thing that somebody else could see or do."""
    found = 0
    for method, path in routes(homes.house.app):
        kind = KIND_OF.get(f"{method} {path}")
        assert kind is not None, f"{method} {path} has no policy: add it to POLICIES"
        if kind == "own":
            for request in asked_for(homes, method, path):
                for who in ("nobody", "other", "local"):
                    async with homes.client(who) as client:
                        answer = await client.request(method, **request)
                    expected = 401 if who == "nobody" else 404
                    assert answer.status_code == expected, (who, method, path, answer.text)
                    assert SECRET not in answer.text, (who, method, path)
                    found += 1
        elif kind == "list":
            for who in ("other", "local"):
                async with homes.client(who) as client:
                    answer = await client.request(method, path)
                assert answer.status_code == 200
                for theirs in (homes.session_id, SECRET, *homes.example_ids.values()):
                    assert theirs not in answer.text, (who, method, path)
        elif kind == "owner":
            for who, status in (("nobody", 401), ("other", 403)):
                async with homes.client(who) as client:
                    answer = await client.request(method, path, json={} if method == "POST" else None)
                assert answer.status_code == status, (who, method, path)
        elif kind == "home":
            async with homes.client("nobody") as client:
                answer = await client.request(method, path, json={} if method == "POST" else None)
            assert answer.status_code == 401, (method, path)
    assert found >= 3 * len(POLICIES["own"])
    # What others tried left nothing behind.
    assert len(homes.house.store.turns.list(homes.session_id)) == 1
    assert homes.house.store.feedback.list(homes.turn_id) == []
    waiting = {row.example_id for row in homes.house.store.examples.pending()}
    assert waiting == set(homes.example_ids.values())


async def test_nobody_reaches_what_is_somebody_elses(tmp_path: Path) -> None:
    homes = await open_homes(tmp_path)
    await check(homes)
    await close_house(homes.house)


async def test_a_run_shows_only_ones_own_corrections(tmp_path: Path) -> None:
    homes = await open_homes(tmp_path)
    homes.house.homefire.training.losses = lambda run_id: []
    for path in ("/runs", f"/runs/{RUN}"):
        for who, is_theirs in (("local", True), ("other", False)):
            async with homes.client(who) as client:
                answer = await client.get(path)
            assert answer.status_code == 200
            assert ("Where is the key?" in answer.text) == (is_theirs and not path.startswith("/v1/")), (
                who,
                path,
            )
    await close_house(homes.house)


async def test_the_owner_reaches_all_of_it(tmp_path: Path) -> None:
    """Else the matrix would be right about routes that answer 404 to everybody."""
    homes = await open_homes(tmp_path)
    async with homes.client("first") as client:
        for method, path in routes(homes.house.app):
            if KIND_OF[f"{method} {path}"] == "own":
                for request in asked_for(homes, method, path):
                    answer = await client.request(method, **request)
                    # Only a refused correction can be tried again; that it is not one is said to its owner.
                    expected = (409,) if path.endswith("/retry") else (200, 204, 307)
                    assert answer.status_code in expected, (method, path, answer.text)
    await close_house(homes.house)


def _anybodys_session(store: Any, principal: str, session_id: str) -> Any:
    return store.sessions.get(session_id)


def _anybodys_turn(store: Any, principal: str, turn_id: str) -> Any:
    return store.turns.get(turn_id)


PLANTS: list[tuple[Any, str, Callable[..., Any]]] = [
    (native_sessions, "session_of", _anybodys_session),
    (position, "session_of", _anybodys_session),
    (turn, "turn_of", _anybodys_turn),
    (native_turns, "turn_of", _anybodys_turn),
    (corrections, "turn_of", _anybodys_turn),
    (views, "session_of", _anybodys_session),
    (views, "turn_of", _anybodys_turn),
]


@pytest.mark.parametrize(("module", "name", "anybodys"), PLANTS)
async def test_planted_bug_a_reader_that_does_not_ask_whose_it_is_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: Any, name: str, anybodys: Any
) -> None:
    homes = await open_homes(tmp_path)
    monkeypatch.setattr(module, name, anybodys)
    with pytest.raises(AssertionError):
        await check(homes)
    await close_house(homes.house)


async def test_planted_bug_a_new_route_without_a_policy_is_noticed(tmp_path: Path) -> None:
    homes = await open_homes(tmp_path)

    @homes.house.app.get("/v1/sessions/{session_id}/secrets")
    async def secrets(session_id: str) -> str:
        return session_id

    with pytest.raises(AssertionError, match="has no policy"):
        await check(homes)
    await close_house(homes.house)


async def test_the_cookie_of_the_sign_in_page_is_for_no_script_and_no_other_site(tmp_path: Path) -> None:
    homes = await open_homes(tmp_path)
    for origin, is_secure in (("http://localhost:8765", False), ("https://localhost:8765", True)):
        async with homes.house.client(REMOTE, headers={"origin": origin}) as client:
            answer = await client.post("/login", data={"key": homes.house.key})
            wrong = await client.post("/login", data={"key": "hf-wrong"})
        attributes = {part.strip().lower() for part in answer.headers["set-cookie"].split(";")}
        assert {"httponly", "samesite=strict", "path=/"} <= attributes
        assert ("secure" in attributes) == is_secure
        assert "domain" not in str(attributes)
        assert "set-cookie" not in wrong.headers
    await close_house(homes.house)
