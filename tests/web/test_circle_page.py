"""The whole circle on the page: correct, watch, promoted, roll back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.support.server import LiveServer, running_server
from tests.web.test_chat_page import Page, ask, violations


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LiveServer]:
    """A server that learns."""
    with running_server(tmp_path / "home", environ={"HOMEFIRE_TRAINING__QUIET_S": "0.2"}) as live:
        yield live


def test_a_correction_becomes_a_version_and_can_be_taken_back(page: Page) -> None:
    question, answer = "Where do we keep the spare key?", "Under the blue flower pot."
    page.goto("/")
    ask(page, question)
    page.get_by_role("button", name="This should have been…").click()
    page.locator("form.correct textarea").fill(answer)
    page.get_by_role("button", name="Teach it").click()
    expect(page.locator(".learning .stages")).to_be_visible(timeout=30_000)
    expect(page.locator("#live-model")).to_have_text("v001", timeout=60_000)
    expect(page.locator(".learning .outcome")).to_have_text("v001 passed every check and answers now.")
    page.get_by_role("link", name="New chat").click()
    ask(page, question)
    expect(page.locator("article.assistant .text")).to_have_text(answer)

    page.get_by_role("link", name="Runs").click()
    page.locator("tbody a").first.click()
    expect(page.locator("#loss canvas")).to_be_visible()
    expect(page.locator("#loss-summary")).to_contain_text("at step 1")
    assert violations(page) == []

    page.get_by_role("link", name="Versions").click()
    page.get_by_role("button", name="Verify").click()
    expect(page.locator("#notices")).to_contain_text("hold what was written")
    page.get_by_role("button", name="Roll back").click()
    expect(page.locator("#live-model")).to_have_text("ember")
    page.get_by_role("button", name="Promote").first.click()
    expect(page.locator("#live-model")).to_have_text("v001")
    assert violations(page) == []
