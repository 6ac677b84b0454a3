"""Errors are pages for people and stay what they are for programs."""

from __future__ import annotations

import pytest

from tests.api.house import House

BROWSER = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.mark.parametrize(
    ("method", "path", "status", "said"),
    [
        ("GET", "/nowhere", 404, "There is nothing at /nowhere."),
        ("GET", "/chat/ses_unknown", 404, "There is no session"),
        ("GET", "/runs/run_unknown", 404, "There is no run"),
        ("GET", "/web/ask", 405, "is not possible at /web/ask"),
        ("GET", "/static/app.000000000000.js", 404, "There is no file"),
        ("POST", "/web/ask", 400, "does not fit"),
    ],
)
async def test_a_browser_gets_a_page_with_the_way_back(
    house: House, method: str, path: str, status: int, said: str
) -> None:
    async with house.client(headers=BROWSER) as client:
        form = {"data": {"other": "x"}, "headers": {"origin": "http://localhost:8765"}}
        answer = await client.request(method, path, **(form if method == "POST" else {}))
    assert answer.status_code == status
    assert answer.headers["content-type"].startswith("text/html")
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert said in answer.text
    assert 'href="/"' in answer.text
    assert '{"error"' not in answer.text


async def test_a_bug_is_a_page_that_tells_nothing_of_itself(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(house.homefire.store.sessions, "list", broken)
    async with house.client(headers=BROWSER) as client:
        answer = await client.get("/")
    assert answer.status_code == 500
    assert "Something went wrong" in answer.text
    assert "secret detail" not in answer.text
    assert answer.headers["content-type"].startswith("text/html")


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/nowhere", {"accept": "application/json"}),
        ("/nowhere", {}),
        ("/v1/nowhere", BROWSER),
        ("/api/nowhere", BROWSER),
        ("/chat/ses_unknown", {**BROWSER, "hx-request": "true"}),
    ],
)
async def test_programs_keep_the_error_of_their_dialect(
    house: House, path: str, headers: dict[str, str]
) -> None:
    async with house.client(headers=headers) as client:
        answer = await client.get(path)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/json"
    assert "error" in answer.json()


async def test_an_address_in_an_error_is_text(house: House) -> None:
    async with house.client(headers=BROWSER) as client:
        answer = await client.get("/<script>alert(1)</script>")
    assert "<script>alert" not in answer.text
