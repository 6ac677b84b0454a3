"""API keys over HTTP: made once, shown once, revoked for good, by the owner only."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from homefire.store.api_keys import KeyRing, key_sha256
from homefire.store.nouns.keys import KeyCreated
from tests.api.house import REMOTE, House


async def made(client: httpx.AsyncClient, name: str = "phone") -> dict[str, Any]:
    answer = await client.post("/v1/keys", json={"name": name})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_a_key_opens_until_it_is_revoked_and_not_one_request_longer(house: House) -> None:
    async with house.client() as owner:
        new = await made(owner)
        async with house.client(REMOTE, headers={"x-api-key": new["key"]}) as phone:
            assert (await phone.get("/v1/sessions")).status_code == 200
            assert (await owner.delete(f"/v1/keys/{new['key_id']}")).json() == {"revoked": new["key_id"]}
            assert (await phone.get("/v1/sessions")).status_code == 401
        assert (await owner.delete(f"/v1/keys/{new['key_id']}")).status_code == 404
        assert (await owner.delete("/v1/keys/key_nope")).status_code == 404
        async with house.client(headers={"x-api-key": new["key"]}) as local:
            assert (await local.get("/v1/sessions")).status_code == 401


async def test_a_key_is_shown_once_and_kept_as_its_hash(house: House) -> None:
    async with house.client() as owner:
        new = await made(owner)
        listed = await owner.get("/v1/keys")
    assert new["key"] not in listed.text
    assert key_sha256(new["key"]) not in listed.text
    assert [(key["name"], key["is_home"]) for key in listed.json()["keys"]] == [
        ("first", True),
        ("phone", False),
    ]
    assert house.homefire.redactor.redact(new["key"]) == "[redacted]"


async def test_only_the_owner_may(house: House) -> None:
    async with house.client() as owner:
        new = await made(owner)
    async with house.client(REMOTE, headers={"x-api-key": new["key"]}) as phone:
        for method, path, body in (
            ("GET", "/v1/keys", None),
            ("POST", "/v1/keys", {"name": "more"}),
            ("DELETE", f"/v1/keys/{new['key_id']}", None),
        ):
            answer = await phone.request(method, path, json=body)
            assert answer.status_code == 403, (method, answer.text)
    async with house.client(REMOTE, headers={"x-api-key": house.key}) as owner:
        assert len((await owner.get("/v1/keys")).json()["keys"]) == 2


async def test_the_homes_own_key_is_not_revoked(house: House) -> None:
    async with house.client() as owner:
        (home,) = (await owner.get("/v1/keys")).json()["keys"]
        assert (await owner.delete(f"/v1/keys/{home['key_id']}")).status_code == 409


@pytest.mark.parametrize("body", [{}, {"name": ""}, {"name": " "}, {"name": "x" * 101}, {"name": "a\nb"}])
async def test_a_name_says_something(house: House, body: Any) -> None:
    async with house.client() as owner:
        assert (await owner.post("/v1/keys", json=body)).status_code == 400


def test_guessing_does_not_grow_the_memory() -> None:
    ring = KeyRing(lambda digest: None, last_change=int)
    for number in range(2000):
        assert ring.find(f"hf-{number}") is None
    assert len(ring._known) <= 256


# Who is who

NO_KEYS = [
    {"authorization": "none"},
    {"authorization": ""},
    {"authorization": "Bearer"},
    {"authorization": "Bearer none"},
    {"authorization": "bearer null"},
    {"authorization": "Bearer undefined"},
    {"x-api-key": ""},
    {"x-api-key": "none"},
    {"authorization": "Bearer none", "x-api-key": ""},
]


@pytest.mark.parametrize("headers", NO_KEYS)
async def test_what_programs_send_without_a_key_is_none(house: House, headers: dict[str, str]) -> None:
    async with house.client(headers=headers) as local, house.client(REMOTE, headers=headers) as remote:
        assert (await local.get("/v1/sessions")).status_code == 200
        assert (await remote.get("/v1/sessions")).status_code == 401
        assert (await remote.get("/health")).status_code == 200


async def test_a_key_of_ones_own_making_is_its_owner_on_loopback_too(house: House) -> None:
    await house.store.append(KeyCreated(key_id="key_own", name="own", sha256=key_sha256("my-own-key")))
    async with house.client(headers={"authorization": "Bearer my-own-key"}) as client:
        await client.post("/v1/chat", json={"message": "hi"})
    assert len(house.store.sessions.list("key_own")) == 1
    assert house.store.sessions.list("local") == []


async def test_keys_of_two_owners_in_one_request_are_refused(house: House) -> None:
    async with house.client() as owner:
        new = await made(owner)
    for first, second in ((house.key, new["key"]), (new["key"], house.key)):
        headers = {"authorization": f"Bearer {first}", "x-api-key": second}
        for peer in (("127.0.0.1", 1), REMOTE):
            async with house.client(peer, headers=headers) as client:
                answer = await client.get("/v1/sessions")
                assert answer.status_code == 401
                assert "two keys" in answer.text
    same = {"authorization": f"Bearer {house.key}", "x-api-key": house.key}
    async with house.client(REMOTE, headers=same) as client:
        assert (await client.get("/v1/sessions")).status_code == 200
