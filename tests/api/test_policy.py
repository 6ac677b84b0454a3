"""Who may send what from where: the live route table against every way of not being allowed in."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.routing import iter_route_contexts
from starlette.routing import Mount

from homefire.api import auth
from homefire.api.policy import Policy, check_exposure, check_media_type, host_name
from homefire.errors import ConfigError, Forbidden, UnsupportedMediaType
from homefire.store.api_keys import KeyRing, create_key
from homefire.store.nouns.keys import KeyRevoked
from homefire.web.routes import add_pages
from homefire.world import World
from tests.api.house import REMOTE, House, close_house, open_house

OPEN = {"/health", "/login"}


@pytest.fixture
async def whole(house: House) -> House:
    """The house with the web pages on it: every route there is."""
    add_pages(house.app)
    return house


def every_route(app: Any) -> Iterator[tuple[str, str]]:
    """(method, path) of everything the application answers, path parameters filled in."""
    found = 0
    for route in iter_route_contexts(app.routes):
        if isinstance(route.original_route, Mount):
            assert route.path == "/static"
            continue
        path = str(route.path)
        for name in route.param_convertors:
            path = path.replace(f"{{{name}:path}}", "x").replace(f"{{{name}}}", "x")
        for method in route.methods or ():
            found += 1
            yield method, path
    assert found > 40, "the walk lost sight of the routes"


async def call(client: httpx.AsyncClient, method: str, path: str, **options: Any) -> httpx.Response:
    body = {"json": {}} if method in ("POST", "DELETE", "PUT", "PATCH") else {}
    return await client.request(method, path, **body, **options)


async def test_without_a_key_a_remote_peer_gets_nothing_but_health(whole: House) -> None:
    async with whole.client(REMOTE) as client:
        for method, path in every_route(whole.app):
            response = await call(client, method, path)
            is_open = path in OPEN and method in ("GET", "HEAD")
            if path == "/login" and method == "POST":
                assert response.status_code == 400  # answered, and this was not a form
                continue
            assert response.status_code == (200 if is_open else 401), (method, path, response.text)
            if not is_open:
                assert response.headers["www-authenticate"] == "Bearer"


async def test_an_unknown_address_is_not_told_apart_without_a_key(house: House) -> None:
    async with house.client(REMOTE) as client:
        assert (await client.get("/nothing-here")).status_code == 401


async def test_the_walk_notices_a_route_left_open(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted bug: one more open path."""
    monkeypatch.setattr(auth, "OPEN_PATHS", {*auth.OPEN_PATHS, "/v1/sessions"})
    with pytest.raises(AssertionError, match="sessions"):
        await test_without_a_key_a_remote_peer_gets_nothing_but_health(house)


async def test_a_foreign_host_is_refused_everywhere(whole: House) -> None:
    async with whole.client() as client:
        for method, path in every_route(whole.app):
            for host in ("evil.example", "localhost.evil.example", "127.0.0.1.evil.example:8765", ""):
                response = await call(client, method, path, headers={"host": host})
                assert response.status_code == 403, (method, path, host)


async def test_a_foreign_or_null_origin_is_refused_everywhere_also_with_a_key(whole: House) -> None:
    async with whole.client() as client:
        for method, path in every_route(whole.app):
            for origin in ("http://evil.example", "null", "http://localhost:9999", "https://localhost.evil"):
                headers = {"origin": origin, "authorization": f"Bearer {whole.key}"}
                response = await call(client, method, path, headers=headers)
                assert response.status_code == 403, (method, path, origin)


async def test_forms_and_plain_text_are_refused_on_every_api_write(whole: House) -> None:
    async with whole.client() as client:
        for method, path in every_route(whole.app):
            if method not in ("POST", "DELETE"):
                continue
            for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
                # As a page of another site would send it.
                headers = {"content-type": kind, "sec-fetch-site": "cross-site"}
                response = await client.request(method, path, content=b"{}", headers=headers)
                assert response.status_code == 403, (method, path, kind)
                # As a browser sent it that says nothing of where the page came from.
                if path.startswith(("/v1/", "/api/")):
                    response = await client.request(
                        method,
                        path,
                        content=b"{}",
                        headers={"content-type": kind, "user-agent": "Mozilla/5.0 (X11) Gecko/20100101"},
                    )
                    assert response.status_code == 415, (method, path, kind)


async def test_our_own_page_may_call(house: House) -> None:
    async with house.client() as client:
        own = {"origin": "http://localhost:8765"}
        assert (await client.get("/v1/sessions", headers=own)).status_code == 200
        assert "access-control-allow-origin" not in (await client.get("/health", headers=own)).headers


async def test_an_allowed_origin_may_call_and_read(tmp_path: Path) -> None:
    house = await open_house(tmp_path, allowed_origins=("https://chat.example/",))
    async with house.client() as client:
        headers = {"origin": "https://chat.example"}
        preflight = {**headers, "access-control-request-method": "POST"}
        # What the official JavaScript SDKs send.
        wanted = "authorization,x-api-key,x-stainless-arch,x-stainless-retry-count,anthropic-version,anthropic-beta"
        preflight["access-control-request-headers"] = wanted
        asked = await client.options("/v1/chat/completions", headers=preflight)
        assert asked.status_code == 200
        assert asked.headers["access-control-allow-headers"] == wanted
        assert asked.headers["access-control-allow-origin"] == "https://chat.example"
        for method in ("GET", "PUT", "PATCH", "DELETE"):
            changed = {**preflight, "access-control-request-method": method}
            assert (await client.options("/v1/sessions/x", headers=changed)).status_code == 200, method
        changed = {**preflight, "access-control-request-method": "TRACE"}
        assert (await client.options("/v1/sessions/x", headers=changed)).status_code == 400
        for other in ("https://chat.example.evil", "https://chat.exampl", "null", "http://chat.example"):
            asked = await client.options("/v1/chat/completions", headers={**preflight, "origin": other})
            assert asked.status_code == 400
            assert "access-control-allow-origin" not in asked.headers
        answer = await client.get("/v1/models", headers=headers)
        assert answer.headers["access-control-allow-origin"] == "https://chat.example"
    async with house.client(REMOTE) as client:
        # A page can only read why it was refused where the refusal carries the headers too.
        refused = await client.post("/v1/chat/completions", json={}, headers=headers)
        assert refused.status_code == 401
        assert refused.headers["access-control-allow-origin"] == "https://chat.example"
    await close_house(house)


@pytest.mark.parametrize("origin", ["*", "null", "chat.example", "https://chat.example/path"])
async def test_an_origin_that_could_never_match_is_a_setting_to_correct(tmp_path: Path, origin: str) -> None:
    with pytest.raises(ConfigError) as refused:
        policy(origins=(origin,))
    assert refused.value.details["key"] == "server.allowed_origins"


@pytest.mark.parametrize("header", ["authorization", "x-api-key"])
async def test_a_right_key_opens_from_anywhere_and_names_its_owner(house: House, header: str) -> None:
    value = f"Bearer {house.key}" if header == "authorization" else house.key
    async with house.client(REMOTE, headers={header: value}) as client:
        assert (await client.get("/v1/sessions")).json() == {"sessions": []}
        answer = await client.post("/v1/chat", json={"message": "hi"})
        assert answer.status_code == 200
        assert len((await client.get("/v1/sessions")).json()["sessions"]) == 1
    async with house.client() as local:
        assert (await local.get("/v1/sessions")).json() == {"sessions": []}
        session_id = answer.json()["session_id"]
        assert (await local.get(f"/v1/sessions/{session_id}")).status_code == 404
        given = {"turn_id": answer.json()["turn_id"], "verdict": "good"}
        assert (await local.post("/v1/feedback", json=given)).status_code == 404


WRONG = "hf-" + "x" * 43


@pytest.mark.parametrize("headers", [{"authorization": f"Bearer {WRONG}"}, {"x-api-key": WRONG}])
async def test_a_wrong_key_is_refused_even_on_loopback(house: House, headers: dict[str, str]) -> None:
    async with house.client(headers=headers) as client:
        assert (await client.get("/health")).status_code == 401
        assert (await client.get("/v1/sessions")).status_code == 401


@pytest.mark.parametrize(
    "headers", [{"authorization": "Bearer none"}, {"authorization": "Bearer "}, {"x-api-key": "sk-filler"}]
)
async def test_filler_that_clients_insist_on_counts_as_no_key(house: House, headers: dict[str, str]) -> None:
    async with house.client(headers=headers) as local, house.client(REMOTE, headers=headers) as remote:
        assert (await local.get("/v1/sessions")).status_code == 200
        assert (await remote.get("/v1/sessions")).status_code == 401


async def test_other_schemes_than_bearer_are_refused(house: House) -> None:
    async with house.client(headers={"authorization": "Basic aGk6aGk="}) as client:
        assert (await client.get("/v1/sessions")).status_code == 401


async def test_a_right_and_a_wrong_key_together_are_refused(house: House) -> None:
    headers = {"authorization": f"Bearer {house.key}", "x-api-key": WRONG}
    async with house.client(headers=headers) as client:
        assert (await client.get("/v1/sessions")).status_code == 401


@pytest.mark.parametrize("header", ["forwarded", "x-forwarded-for", "x-real-ip"])
async def test_a_proxy_on_this_machine_does_not_count_as_loopback(house: House, header: str) -> None:
    async with house.client(headers={header: "203.0.113.7"}) as client:
        assert (await client.get("/v1/sessions")).status_code == 401


async def test_loopback_needs_a_key_too_where_the_settings_say_so(tmp_path: Path) -> None:
    house = await open_house(tmp_path, loopback_without_key=False)
    async with house.client() as client:
        assert (await client.get("/v1/sessions")).status_code == 401
        assert (await client.get("/health")).status_code == 200
    await close_house(house)


async def test_a_revoked_key_opens_nothing_although_it_was_cached(house: House) -> None:
    headers = {"x-api-key": house.key}
    async with house.app.router.lifespan_context(house.app), house.client(REMOTE, headers=headers) as client:
        assert (await client.get("/v1/sessions")).status_code == 200
        (row,) = house.store.keys.list()
        await house.store.append(KeyRevoked(key_id=row.key_id))
        for _ in range(10):
            await asyncio.sleep(0)
        assert (await client.get("/v1/sessions")).status_code == 401


async def test_the_key_of_the_sign_in_page_counts_and_a_stale_one_does_not(house: House) -> None:
    async with house.client(REMOTE, cookies={"homefire_key": house.key}) as client:
        assert (await client.get("/v1/sessions")).status_code == 200
    async with house.client(REMOTE, cookies={"homefire_key": "stale"}) as client:
        assert (await client.get("/v1/sessions")).status_code == 401
    async with house.client(cookies={"homefire_key": "stale"}) as client:
        assert (await client.get("/v1/sessions")).status_code == 200


async def test_a_browser_without_a_key_is_sent_to_sign_in(house: House) -> None:
    async with house.client(REMOTE, headers={"accept": "text/html"}) as client:
        page = await client.get("/")
        assert (page.status_code, page.headers["location"]) == (303, "/login")
        assert (await client.get("/v1/sessions")).status_code == 401


async def test_an_error_never_shows_the_key(house: House) -> None:
    async with house.client() as client:
        body = {"model": house.key, "messages": [{"role": "user", "content": "hi"}]}
        response = await client.post("/v1/chat/completions", json=body)
    assert response.status_code == 404
    assert house.key not in response.text
    assert "[redacted]" in response.text


def test_keys_have_the_documented_form_and_only_their_hash_is_kept() -> None:
    secret, created = create_key(World(), name="x")
    assert secret.startswith("hf-")
    assert len(secret) == 46
    assert secret not in repr(created)
    assert KeyRing(lambda digest: row(created.sha256), last_change=int).authenticate(secret) == "key_1"


def row(sha256: str) -> Any:
    from types import SimpleNamespace

    return SimpleNamespace(key_id="key_1", sha256=sha256, revoked_at_s=None)


def policy(host: str = "127.0.0.1", **names: Any) -> Policy:
    return Policy.from_settings(
        host,
        allowed_hosts=names.get("hosts", ()),
        allowed_origins=names.get("origins", ()),
        loopback_without_key=True,
    )


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("localhost:8765", "localhost"),
        ("LOCALHOST", "localhost"),
        ("[::1]:8765", "::1"),
        ("[::1]", "::1"),
        ("127.0.0.1", "127.0.0.1"),
    ],
)
def test_host_names_are_read_without_their_port(value: str, name: str) -> None:
    assert host_name(value) == name
    policy().check_host(value.encode())


@pytest.mark.parametrize(
    "value",
    [
        "", " localhost", "localhost ", "localhost.", "localhost..", ".localhost", "localhost:", "localhost:80:80",
        "localhost:99999", "localhost:+80", "localhost:80a", "localhost:١", "me@localhost", "localhost@evil.example",
        "localhost/", "localhost#", "localhost?x", "localhost\\evil", "localhost\t", "localhost\n", "localhost,evil",
        "[::1", "::1", "[::1]evil", "[::1].evil", "[::1]:", "[::1]:80:80", "[::1]@evil", "[localhost]", "[]",
        "[::1%25lo]", "[127.0.0.1]", "http://localhost", "lo\xa0calhost", "127.0.0.1.", "127.1", "0x7f.0.0.1",
        "2130706433", "localhost.evil.example", "evil.example:localhost", "xn--localhost",
    ],
)  # fmt: skip
def test_a_host_that_is_not_exactly_ours_is_refused(value: str) -> None:
    for wild in (False, True):
        with pytest.raises(Forbidden):
            policy("0.0.0.0" if wild else "127.0.0.1").check_host(value.encode("utf-8", "surrogateescape"))


PIECES = [
    "localhost", "127.0.0.1", "[::1]", "::1", "[", "]", ":", "8765", "80", "@", "/", "#", "?", "\\", ".", ",", " ",
    "\t", "\x00", "evil", "evil.example", "http://", "https://", "null", "%00", "%5b", "é", "LOCALHOST", "0",
    "65536", "+", "-", "*",
]  # fmt: skip
OUR_NAMES = {"localhost", "127.0.0.1", "[::1]"}


def is_exactly_ours(value: str) -> bool:
    """The oracle: one of our names, and perhaps a port."""
    name, colon, port = value.lower().rpartition(":")
    if not colon or value.endswith("]"):
        name, port = value.lower(), "1"
    return name in OUR_NAMES and port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65535


def test_of_any_host_only_ours_passes() -> None:
    dice, found, num_ours = random.Random(6), policy(), 0
    for _ in range(20_000):
        value = "".join(dice.choices(PIECES, k=dice.randint(0, 4)))
        try:
            found.check_host(value.encode())
        except Forbidden:
            passed = False
        else:
            passed = True
        assert passed == is_exactly_ours(value), value
        num_ours += passed
    assert num_ours > 100, "the generator made none that may pass"


def test_of_any_origin_and_sender_only_ours_passes() -> None:
    dice, found = random.Random(6), policy(origins=("https://chat.example",))
    ours = {"http://localhost:8765", "https://localhost:8765", "https://chat.example"}
    pieces = [*PIECES, "https://chat.example", "http://localhost:8765", "chat.example"]
    sites = [None, b"none", b"same-origin", b"same-site", b"cross-site"]
    num_ours = 0
    for _ in range(20_000):
        origin = "".join(dice.choices(pieces, k=dice.randint(1, 3))) if dice.random() < 0.7 else None
        site = dice.choice(sites)
        method = dice.choice(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"])
        headers = {} if origin is None else {b"origin": origin.encode()}
        headers |= {} if site is None else {b"sec-fetch-site": site}
        foreign = origin.lower() not in ours if origin is not None else site in (b"same-site", b"cross-site")
        assert passes(found, method, headers) != foreign, (method, headers)
        num_ours += not foreign
    assert num_ours > 100


ORIGINS = [
    ("http://localhost:8765", True), ("https://localhost:8765", True), ("https://chat.example", True),
    ("http://localhost:87650", False), ("http://localhost:876", False), ("http://localhost", False),
    ("http://localhost:8765.evil.example", False), ("http://localhost:8765@evil.example", False),
    ("http://localhost:8765/", False), ("http://evil.example/localhost:8765", False),
    ("https://chat.example.evil", False), ("https://chat.example:8443", False), ("http://chat.example", False),
    ("https://chat.exampl", False), ("https://xchat.example", False), ("chat.example", False),
    ("null", False), ("", False), ("file://", False), ("ftp://localhost:8765", False),
]  # fmt: skip


def passes(found: Policy, method: str, headers: dict[bytes, bytes]) -> bool:
    try:
        found.check_sender(method, {b"host": b"localhost:8765", **headers})
    except Forbidden:
        return False
    return True


@pytest.mark.parametrize(("origin", "may"), ORIGINS)
def test_an_origin_is_compared_whole(origin: str, may: bool) -> None:
    found = policy(origins=("https://chat.example",))
    for method in ("GET", "POST", "DELETE"):
        assert passes(found, method, {b"origin": origin.encode()}) == may


@pytest.mark.parametrize(
    ("method", "headers", "may"),
    [
        # A form or script of another site, with or without a body, also where it hides its origin.
        ("POST", {"site": b"cross-site"}, False),
        ("POST", {"site": b"same-site"}, False),
        ("POST", {"site": b"cross-site", "mode": b"navigate", "dest": b"document"}, False),
        ("DELETE", {"site": b"cross-site"}, False),
        # An image, a frame, a script of another site.
        ("GET", {"site": b"cross-site", "mode": b"no-cors", "dest": b"image"}, False),
        ("GET", {"site": b"cross-site", "mode": b"navigate", "dest": b"iframe"}, False),
        ("GET", {"site": b"same-site", "mode": b"cors", "dest": b"empty"}, False),
        # A link that a person followed; an address that a person typed; our own page; a program.
        ("GET", {"site": b"cross-site", "mode": b"navigate", "dest": b"document"}, True),
        ("GET", {"site": b"none", "mode": b"navigate", "dest": b"document"}, True),
        ("POST", {"site": b"same-origin", "mode": b"cors"}, True),
        ("POST", {"mode": b"cors"}, True),
        ("POST", {}, True),
    ],
)
def test_what_another_site_sent_is_refused_without_an_origin_too(
    method: str, headers: dict[str, bytes], may: bool
) -> None:
    named = {f"sec-fetch-{name}".encode(): value for name, value in headers.items()}
    assert passes(policy(), method, named) == may


async def test_a_cross_site_write_without_a_body_does_nothing(house: House) -> None:
    async with house.client() as client:
        for headers in (
            {"sec-fetch-site": "cross-site"},
            {"origin": "null"},
            {"origin": "http://evil.example"},
        ):
            refused = await client.post("/v1/versions/rollback", headers=headers)
            assert refused.status_code == 403
    assert house.homefire.promotion.moves == []


def test_a_configured_name_is_answered_and_an_address_only_where_all_are_listened_on() -> None:
    policy(hosts=("home.example",)).check_host(b"home.example:443")
    policy("0.0.0.0").check_host(b"192.168.1.5:8765")
    with pytest.raises(Forbidden):
        policy().check_host(b"192.168.1.5:8765")
    with pytest.raises(Forbidden):
        policy("0.0.0.0").check_host(b"evil.example")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "home.example", ""])
def test_listening_beyond_this_machine_needs_a_key(host: str) -> None:
    with pytest.raises(ConfigError):
        check_exposure(host, num_keys=0)
    check_exposure(host, num_keys=1)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_loopback_may_be_listened_on_without_a_key(host: str) -> None:
    check_exposure(host, num_keys=0)


UNDECLARED = ["", "text/plain;charset=UTF-8", "application/x-www-form-urlencoded", "application/octet-stream"]


@pytest.mark.parametrize("media_type", UNDECLARED)
async def test_json_may_be_undeclared_where_no_browser_sent_it(house: House, media_type: str) -> None:
    """As LiteLLM's `ollama/` provider, `requests.post(data=…)`, Node's `fetch` and `curl -d` do."""
    headers = {"content-type": media_type, "sec-fetch-mode": "cors", "user-agent": "node"}
    async with house.client(headers=headers) as client:
        for path, body in (
            ("/api/chat", b'{"model":"default","stream":false,"messages":[{"role":"user","content":"hi"}]}'),
            ("/v1/chat/completions", b'{"model":"default","messages":[{"role":"user","content":"hi"}]}'),
            ("/v1/chat", b'{"message":"hi"}'),
            ("/v1/embeddings", b'{"model":"default","input":"hi"}'),
        ):
            answer = await client.post(path, content=body)
            assert answer.status_code == 200, (path, answer.text)
            assert (await client.post(path, content=b"a=1")).status_code == 400


@pytest.mark.parametrize("media_type", UNDECLARED)
@pytest.mark.parametrize(
    "sent_by",
    [
        {b"origin": b"http://localhost:8765"},
        {b"sec-fetch-site": b"none"},
        {b"referer": b"http://evil.example/"},
        {b"cookie": b"homefire_key=x"},
        {b"user-agent": b"Mozilla/5.0 (X11; Linux x86_64; rv:60.0) Gecko/20100101 Firefox/60.0"},
    ],
)
def test_no_browser_may_leave_the_media_type_out(media_type: str, sent_by: dict[bytes, bytes]) -> None:
    headers = {b"content-type": media_type.encode(), b"content-length": b"9"}
    check_media_type("POST", headers, is_api=True)
    with pytest.raises(UnsupportedMediaType):
        check_media_type("POST", {**headers, **sent_by}, is_api=True)


def test_a_body_of_parts_is_never_json() -> None:
    headers = {b"content-type": b"multipart/form-data; boundary=x", b"content-length": b"9"}
    with pytest.raises(UnsupportedMediaType):
        check_media_type("POST", headers, is_api=True)
