"""Signing in leads where one wanted to go, and nowhere else; signing out forgets the key."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest

from homefire.api.policy import KEY_COOKIE
from homefire.web.login import safe_next
from tests.api.house import REMOTE, House

BROWSER = {"accept": "text/html,application/xhtml+xml", "origin": "http://localhost:8765"}


async def test_a_deep_link_survives_signing_in(house: House) -> None:
    wanted = "/chat/ses_1?from=mail&x=%2F"
    async with house.client(REMOTE, headers=BROWSER) as client:
        sent_away = await client.get(wanted)
        assert sent_away.status_code == 303
        location = sent_away.headers["location"]
        assert urlsplit(location).path == "/login"
        [next_page] = parse_qs(urlsplit(location).query)["next"]
        form = await client.get(location)
        assert f'name="next" value="{next_page.replace("&", "&amp;")}"' in form.text
        signed_in = await client.post("/login", data={"key": house.key, "next": next_page})
        assert (signed_in.status_code, signed_in.headers["location"]) == (303, wanted)
        scripted = await client.post(
            "/login", data={"key": f" {house.key} ", "next": "/runs"}, headers={"hx-request": "true"}
        )
        assert (scripted.status_code, scripted.headers["hx-redirect"]) == (204, "/runs")


@pytest.mark.parametrize(
    "next_page",
    [
        "https://evil.example/", "//evil.example", "/\\evil.example", "\\\\evil.example", "/\t/evil.example",
        "/\n/evil.example", "javascript:alert(1)", "evil", "", "/login?next=/login", "/logout", "/web/ask", "/é",
        " //evil.example", "/" + "x" * 3_000,
    ],
)  # fmt: skip
async def test_nobody_is_sent_elsewhere_after_signing_in(house: House, next_page: str) -> None:
    assert safe_next(next_page) == "/"
    async with house.client(REMOTE, headers=BROWSER) as client:
        answer = await client.post("/login", data={"key": house.key, "next": next_page})
        assert (answer.status_code, answer.headers["location"]) == (303, "/")


async def test_the_cookie_is_out_of_reach_for_scripts_and_other_sites(house: House) -> None:
    async with house.client(REMOTE, headers=BROWSER) as client:
        cookie = (await client.post("/login", data={"key": house.key})).headers["set-cookie"]
    parts = {part.strip().lower() for part in cookie.split(";")}
    assert {"httponly", "samesite=strict", "path=/"} <= parts


async def test_a_wrong_key_is_told_and_sets_nothing(house: House) -> None:
    async with house.client(REMOTE, headers=BROWSER) as client:
        answer = await client.post("/login", data={"key": "hf-wrong", "next": "/runs"})
        assert "This key is not known." in answer.text
        assert 'value="/runs"' in answer.text
        assert "<!doctype html>" in answer.text
        assert "set-cookie" not in answer.headers
        fragment = await client.post("/login", data={"key": "hf-wrong"}, headers={"hx-request": "true"})
        assert "<!doctype html>" not in fragment.text


async def test_signing_out_forgets_the_key_in_this_browser(house: House) -> None:
    async with house.client(REMOTE, headers=BROWSER) as client:
        await client.post("/login", data={"key": house.key})
        assert "Sign out" in (await client.get("/runs")).text
        left = await client.post("/logout")
        assert (left.status_code, left.headers["location"]) == (303, "/login")
        assert KEY_COOKIE not in client.cookies
        assert (await client.get("/runs")).headers["location"] == "/login?next=/runs"


async def test_nobody_is_offered_to_sign_out_who_needed_no_key(house: House) -> None:
    async with house.client(headers=BROWSER) as client:
        assert "Sign out" not in (await client.get("/runs")).text
