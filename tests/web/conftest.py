"""A real server and a real browser. Without Chromium these tests say so and are left out."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from homefire.web.routes import add_pages
from tests.api.house import House, close_house, open_house
from tests.support.server import LiveServer, running_server

CHROMIUM = shutil.which("chromium")
QUIET = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for the tests of a module. Not of a session: while its driver runs, no other event loop can."""
    if CHROMIUM is None:
        pytest.skip("chromium is not installed (`make system-packages`)")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        yield launched
        launched.close()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """One server for the tests that teach nothing."""
    with running_server(
        tmp_path_factory.mktemp("web") / "home", environ={"HOMEFIRE_TRAINING__AUTO": "false"}
    ) as live:
        yield live


@pytest.fixture
def page(browser: Browser, server: LiveServer) -> Iterator[Page]:
    """A fresh page; it may not reach another host and may not report an error."""
    context = browser.new_context(viewport={"width": 1200, "height": 820}, base_url=server.url)
    opened = context.new_page()
    problems: list[str] = []
    opened.on("pageerror", lambda error: problems.append(str(error)))
    opened.on("console", lambda said: problems.append(said.text) if said.type == "error" else None)
    opened.on("request", lambda sent: None if sent.url.startswith(server.url) else problems.append(sent.url))
    yield opened
    context.close()
    assert problems == []


@pytest.fixture
def strict_page(browser: Browser, server: LiveServer) -> Iterator[Page]:
    """A page for tests that let requests fail: the console may say so, a script may not stumble."""
    context = browser.new_context(viewport={"width": 1200, "height": 820}, base_url=server.url)
    opened = context.new_page()
    problems: list[str] = []
    opened.on("pageerror", lambda error: problems.append(str(error)))
    yield opened
    context.close()
    assert problems == []


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    """A house with the pages on it, in this process and without a browser."""
    opened = await open_house(tmp_path)
    add_pages(opened.app)
    yield opened
    await close_house(opened)
