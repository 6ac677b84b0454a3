"""What a first visit costs, counted in a real browser: bytes on the wire, requests, hosts, open streams."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pytest
from playwright.sync_api import Browser, expect

from tests.web.furnished import Furnished, furnished

MAX_BYTES, MAX_REQUESTS = 60_000, 8


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Furnished]:
    with furnished(tmp_path_factory.mktemp("furnished")) as made:
        yield made


PATHS = ["/", "/runs", "/runs/run_0promoted", "/runs/run_0running", "/versions", "/corrections", "/login"]


class Visit(NamedTuple):
    """What a page loaded: compressed bytes with their headers, and the addresses."""

    num_bytes: float
    urls: list[str]
    off_host: list[str]


def first_visit(browser: Browser, house: Furnished, path: str) -> Visit:
    page = browser.new_context(base_url=house.url).new_page()
    wire = page.context.new_cdp_session(page)
    wire.send("Network.enable")
    received: list[float] = []
    urls: list[str] = []
    wire.on("Network.loadingFinished", lambda event: received.append(event["encodedDataLength"]))
    wire.on("Network.requestWillBeSent", lambda event: urls.append(event["request"]["url"]))
    page.goto(path)
    page.wait_for_timeout(300)
    page.context.close()
    assert len(received) >= 3
    return Visit(sum(received), urls, [url for url in urls if not url.startswith(house.url)])


@pytest.mark.parametrize("path", PATHS)
def test_a_first_visit_is_small_and_stays_at_home(browser: Browser, house: Furnished, path: str) -> None:
    visit = first_visit(browser, house, path)
    assert visit.off_host == []
    assert len(visit.urls) <= MAX_REQUESTS, visit.urls
    assert visit.num_bytes <= MAX_BYTES, visit.num_bytes


def test_a_second_visit_loads_no_file_again(browser: Browser, house: Furnished) -> None:
    page = browser.new_context(base_url=house.url).new_page()
    page.goto("/")
    wire = page.context.new_cdp_session(page)
    wire.send("Network.enable")
    cached: list[bool] = []
    wire.on("Network.responseReceived", lambda event: cached.append(event["response"]["fromDiskCache"]))
    wire.on("Network.requestServedFromCache", lambda event: cached.append(True))
    page.goto("/runs")
    page.wait_for_timeout(200)
    assert sum(cached) >= 2, "style and script come from the browser's own store"
    page.context.close()


def test_a_tab_has_one_event_stream_at_most(browser: Browser, house: Furnished) -> None:
    page = browser.new_context(base_url=house.url).new_page()
    streams: list[str] = []
    page.on("request", lambda sent: streams.append(sent.url) if sent.resource_type == "eventsource" else None)
    page.goto("/runs/run_0running")
    expect(page.locator("#loss canvas")).to_be_visible()
    page.wait_for_timeout(300)
    assert len(streams) == 1, streams
    page.goto("/runs/run_0promoted")
    page.wait_for_timeout(300)
    assert len(streams) == 1, "a run that has ended tells nothing new"
    page.goto("/")
    page.get_by_label("Your message").fill("Hello!")
    page.keyboard.press("Enter")
    expect(page.locator(".actions")).to_have_count(1, timeout=20_000)
    page.get_by_role("button", name="This should have been…").click()
    page.locator("form.correct textarea").fill("Good day.")
    page.get_by_role("button", name="Teach it").click()
    expect(page.locator(".learning .gate")).to_be_visible()
    assert len(streams) == 2, "one for the answer; what becomes of a correction needs none"
    page.context.close()
