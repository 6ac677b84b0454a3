"""In a browser: a correction is edited, learned, and un-taught again from the list."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.support.server import LiveServer, running_server
from tests.web.test_chat_page import ask, violations
from tests.web.test_layout import TOO_WIDE


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    environ = {"HOMEFIRE_TRAINING__QUIET_S": "0.2"}
    with running_server(tmp_path_factory.mktemp("taught") / "home", environ=environ) as live:
        yield live


def test_a_correction_is_learned_and_untaught_from_the_list(page: Page) -> None:
    page.set_viewport_size({"width": 375, "height": 700})
    page.goto("/")
    ask(page, "Where do we keep the spare key?")
    page.get_by_role("button", name="This should have been…").click()
    page.locator("form.correct textarea").fill("Under the blue flower pot.")
    page.get_by_role("button", name="Teach it").click()
    expect(page.locator(".correction:not(.htmx-added)")).to_be_focused()
    page.get_by_role("button", name="Edit").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_label("This should have been…").last).to_be_focused()
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("button", name="Edit")).to_be_focused()
    page.reload()
    expect(page.locator("#live-model")).to_have_text("v001", timeout=90_000)
    page.goto("/corrections")
    expect(page.locator(".card .state")).to_have_text("learned")
    assert page.evaluate(TOO_WIDE) == []
    assert violations(page) == []
    asked: list[str] = []
    page.once("dialog", lambda dialog: (asked.append(dialog.message), dialog.dismiss()))
    page.get_by_role("button", name="Un-teach").click()
    expect(page.locator(".card .state")).to_have_text("learned")
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Un-teach").click()
    expect(page.locator(".correction")).to_be_focused()
    expect(page.locator(".card .state")).to_have_text("withdrawn", timeout=60_000)
    assert len(asked) == 1
    page.goto("/versions")
    expect(page.locator("#live-model")).to_have_text("ember")
    assert violations(page) == []
