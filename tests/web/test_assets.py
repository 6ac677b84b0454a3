"""The files of the pages: named after their content, compressed, kept by browsers for ever."""

from __future__ import annotations

import gzip
import hashlib
import re

import httpx
import pytest

from homefire.web import assets as module
from homefire.web.assets import BUNDLES, STATIC, Assets, accepts_gzip
from tests.api.house import REMOTE, House


async def files_of(client: httpx.AsyncClient, page: str) -> list[str]:
    """The addresses a page loads by itself."""
    html = (await client.get(page, headers={"accept": "text/html"})).text
    return list(dict.fromkeys(re.findall(r'(?:src|href)="(/static/[^"]+)"', html)))


async def test_a_first_load_is_small_and_needs_few_requests(house: House) -> None:
    async with house.client(headers={"accept-encoding": "gzip"}) as client:
        for page in ("/", "/runs", "/versions", "/login"):
            files = await files_of(client, page)
            bodies = [await client.send(client.build_request("GET", path)) for path in files]
            sizes = [int(body.headers["content-length"]) for body in bodies]
            html = len((await client.get(page, headers={"accept": "text/html"})).content)
            assert len(files) + 1 <= 8, files
            assert sum(sizes) + html <= 60_000, dict(zip(files, sizes, strict=True))


async def test_a_file_is_kept_for_ever_under_a_name_of_its_content(house: House) -> None:
    async with house.client() as client:
        for path in await files_of(client, "/"):
            answer = await client.get(path)
            digest = hashlib.sha256(answer.content).hexdigest()
            assert path.split(".")[1] == digest[: module.NUM_HASH_CHARS]
            assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
            assert answer.headers["content-encoding"] == "gzip"
            assert answer.headers["vary"] == "accept-encoding"
            assert answer.headers["x-content-type-options"] == "nosniff"


async def test_a_client_without_gzip_gets_the_same_bytes_plainly(house: House) -> None:
    async with house.client() as client:
        for path in await files_of(client, "/"):
            plain = await client.get(path, headers={"accept-encoding": "identity"})
            assert "content-encoding" not in plain.headers
            assert plain.content == (await client.get(path)).content


async def test_an_old_name_is_no_file_and_nothing_else_is_one(house: House) -> None:
    async with house.client() as client:
        for path in (
            "/static/app.000000000000.js",
            "/static/app.js",
            "/static/vendor/htmx.min.js",
            "/static/",
        ):
            assert (await client.get(path)).status_code == 404, path
        for path in ("/static/..%2Frender.py", "/static/../render.py"):
            assert (await client.get(path)).status_code == 404, path
        [path, *_] = await files_of(client, "/")
        assert (await client.post(path, json={})).status_code == 405
        assert (await client.head(path)).status_code == 200


async def test_the_sign_in_page_has_its_files_without_a_key(house: House) -> None:
    async with house.client(REMOTE) as client:
        for path in await files_of(client, "/login"):
            assert (await client.get(path)).status_code == 200


def test_a_changed_file_has_another_name(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    before = Assets().path("app.css")
    assert Assets().path("app.css") == before
    monkeypatch.setitem(BUNDLES, "app.css", ("app.css",))  # type: ignore[arg-type]
    assert Assets().path("app.css") != before


def test_a_bundle_holds_all_of_its_sources() -> None:
    assets = Assets()
    for name, sources in BUNDLES.items():
        content = gzip.decompress(assets._by_name[name].compressed)
        assert all((STATIC / source).read_bytes() in content for source in sources)
    served = {source for sources in BUNDLES.values() for source in sources}
    there = {str(path.relative_to(STATIC)) for path in STATIC.rglob("*") if path.is_file()}
    assert there - served == {"vendor/README.md"}


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        ("gzip, deflate, br", True),
        ("br;q=1.0, GZIP;q=0.8", True),
        ("*", True),
        ("gzip;q=0", False),
        ("gzip; q=0.0", False),
        ("identity", False),
        ("", False),
    ],
)
def test_compression_is_what_the_client_asked_for(header: str, accepted: bool) -> None:
    assert accepts_gzip(header) is accepted
