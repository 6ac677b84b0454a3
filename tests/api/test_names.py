"""Whatever stands in the place of a name in an address, it is a name of nothing: no 5xx, and no file is touched."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.routing import iter_route_contexts

from homefire.api.server import create_app
from homefire.web.routes import add_pages
from tests.faults.lives import open_home

HOSTILE = [
    "..", ".", "%2e%2e", "..%2f..%2fversions%2fv001", "%2e%2e%2f%2e%2e%2fhomefire.db", "..%5c..", "%00", "v001%00",
    "%ff%fe", "a%0d%0aset-cookie:x", "x" * 5000, "%25s%25n", "*", "-1", "1e999", "9" * 400, "v" + "9" * 300,
    "null", "%F0%9F%94%A5", "live/..", "'%20OR%201=1--", "{name}", "~", "CON", "%E2%80%AE",
]  # fmt: skip


def addresses(app: Any, name: str) -> Iterator[tuple[str, str]]:
    """(method, path) of every route that takes a name, with this one in each of its places."""
    for route in iter_route_contexts(app.routes):
        path = str(route.path)
        for parameter in getattr(route, "param_convertors", None) or ():
            path = path.replace(f"{{{parameter}:path}}", name).replace(f"{{{parameter}}}", name)
        if path != str(route.path) and not path.startswith("/static"):
            for method in route.methods or ():
                yield method, path


def contents(root: Path) -> dict[str, bytes]:
    return {
        str(path): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and not path.name.startswith(("homefire.db", "scrub.json", ".scrub"))
    }


@pytest.mark.timeout(240)
async def test_no_name_breaks_a_route_or_reaches_a_file(tmp_path: Path) -> None:
    homefire = open_home(tmp_path / "home")
    app = create_app(homefire)
    add_pages(app)
    transport = httpx.ASGITransport(app, client=("127.0.0.1", 50000), raise_app_exceptions=True)
    num_asked = 0
    async with (
        homefire.running(),
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as client,
    ):
        somebodys = homefire.home.versions / "v001-mine"
        somebodys.mkdir()
        (somebodys / "notes.txt").write_text("mine")
        await homefire.serving.warm("live")
        before = contents(homefire.home.root)
        for name in HOSTILE:
            for method, path in addresses(app, name):
                body = {"json": {}} if method in ("POST", "PUT", "PATCH", "DELETE") else {}
                # As it is written: a client that tidies addresses up would hide what is tried here.
                url = httpx.URL("http://localhost").copy_with(raw_path=path.encode())
                answer = await client.request(method, url, **body)
                assert answer.status_code < 500, (method, path, answer.text)
                num_asked += 1
        assert num_asked > 20 * len(HOSTILE), "the walk lost sight of the routes"
        assert contents(homefire.home.root) == before
