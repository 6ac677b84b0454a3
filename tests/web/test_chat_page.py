"""The chat page in a browser: by keyboard, with streaming, stop, thumbs, corrections, regenerate."""

from __future__ import annotations

import re

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.support.server import LiveServer


def ask(page: Page, question: str) -> None:
    """Type a question and wait for the whole answer."""
    answers = page.locator("article.assistant .actions")
    before = answers.count()
    page.get_by_label("Your message").fill(question)
    page.keyboard.press("Enter")
    expect(answers).to_have_count(before + 1, timeout=20_000)


def violations(page: Page) -> list[str]:
    """What axe finds wrong."""
    found = Axe().run(page).response["violations"]
    return [f"{one['id']}: {[node['target'] for node in one['nodes']]}" for one in found]


def test_a_question_is_answered_and_found_again_under_its_address(page: Page) -> None:
    page.goto("/")
    ask(page, "What is 3 + 4?")
    expect(page.locator("article.assistant .text").last).to_contain_text("7")
    expect(page).to_have_url(re.compile("/chat/ses_"))
    expect(page.get_by_label("Conversations").get_by_text("What is 3 + 4?").first).to_be_visible()
    page.reload()
    expect(page.locator("article.user .text")).to_have_text(["What is 3 + 4?"])
    expect(page.locator("article.assistant .text").last).to_contain_text("7")
    expect(page.get_by_label("Conversations").get_by_text("What is 3 + 4?").first).to_be_visible()


def test_the_second_question_continues_the_conversation(page: Page, server: LiveServer) -> None:
    page.goto("/")
    ask(page, "Hello!")
    ask(page, "What is 2 + 2?")
    session_id = page.url.rsplit("/", 1)[1]
    roles = [message["role"] for message in server.get(f"/v1/sessions/{session_id}")["messages"]]
    assert roles == ["user", "assistant", "user", "assistant"]


def test_everything_can_be_done_with_the_keyboard(page: Page) -> None:
    page.goto("/")
    page.keyboard.type("Hello!")
    page.keyboard.press("Enter")
    expect(page.locator("article.assistant .actions")).to_have_count(1, timeout=20_000)
    focused = page.locator(":focus")
    for _ in range(40):
        page.keyboard.press("Shift+Tab")
        if focused.count() and "This should have been" in (focused.text_content() or ""):
            break
    page.keyboard.press("Enter")
    expect(page.locator("form.correct textarea")).to_be_focused()
    page.keyboard.press("ControlOrMeta+A")
    page.keyboard.type("Good day to you.")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator(".correction .said")).to_have_text("Good day to you.")


def test_thumbs_are_kept_and_shown(page: Page, server: LiveServer) -> None:
    page.goto("/")
    ask(page, "Hello!")
    page.get_by_role("button", name="Good answer").click()
    expect(page.get_by_role("button", name="Good answer")).to_have_attribute("aria-pressed", "true")
    session_id = page.url.rsplit("/", 1)[1]
    turns = server.get(f"/v1/sessions/{session_id}")["turns"]
    assert [turn["verdict"] for turn in turns] == ["good"]


def test_regenerate_replaces_the_last_answer(page: Page, server: LiveServer) -> None:
    page.goto("/")
    ask(page, "Hello!")
    first = page.locator("article.assistant").get_attribute("id")
    page.get_by_role("button", name="Regenerate").click()
    expect(page.locator(f"article.assistant:not(#{first}) .actions")).to_have_count(1, timeout=20_000)
    expect(page.locator(f"#{first}")).to_have_count(0)
    session_id = page.url.rsplit("/", 1)[1]
    assert len(server.get(f"/v1/sessions/{session_id}")["turns"]) == 2


def test_markup_in_a_message_is_text(page: Page) -> None:
    page.goto("/")
    ask(page, "<img src=x onerror=alert(1)> <script>document.title='taken'</script>")
    expect(page.locator("article.user .text")).to_contain_text("<img src=x onerror=alert(1)>")
    assert page.locator("article img, article script").count() == 0
    assert "taken" not in page.title()


def test_axe_finds_nothing_on_the_chat_page(page: Page) -> None:
    page.goto("/")
    assert violations(page) == []
    ask(page, "What is 3 + 4?")
    page.get_by_role("button", name="This should have been…").click()
    expect(page.locator("form.correct textarea")).to_be_visible()
    assert violations(page) == []


def test_axe_would_find_a_missing_label(page: Page) -> None:
    page.goto("/")
    page.evaluate(
        "document.querySelector('label[for=message]').remove(); message.removeAttribute('placeholder')"
    )
    assert any("label" in one for one in violations(page))


def test_axe_finds_nothing_in_the_dark(page: Page) -> None:
    page.emulate_media(color_scheme="dark")
    for path in ("/", "/runs", "/versions", "/login"):
        page.goto(path)
        assert violations(page) == [], path


def test_axe_finds_nothing_on_the_other_pages(page: Page) -> None:
    for path in ("/runs", "/versions", "/login"):
        page.goto(path)
        assert violations(page) == [], path
