"""The chat page in a browser: by keyboard, with streaming, stop, thumbs, corrections, regenerate."""

from __future__ import annotations

import re
from typing import Any

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


def test_thumbs_are_kept_and_shown_and_taken_back(page: Page, server: LiveServer) -> None:
    page.goto("/")
    ask(page, "Hello!")
    good, bad = (page.get_by_role("button", name=name) for name in ("Good answer", "Bad answer"))
    session_id = page.url.rsplit("/", 1)[1]

    def verdict() -> str | None:
        [turn] = server.get(f"/v1/sessions/{session_id}")["turns"]
        return turn["verdict"]

    good.click()
    expect(good).to_have_attribute("aria-pressed", "true")
    assert verdict() == "good"
    bad.click()
    expect(bad).to_have_attribute("aria-pressed", "true")
    expect(good).to_have_attribute("aria-pressed", "false")
    assert verdict() == "bad"
    bad.click()
    expect(bad).to_have_attribute("aria-pressed", "false")
    assert verdict() is None
    page.reload()
    expect(good).to_have_attribute("aria-pressed", "false")


def test_thumbs_keep_the_focus_and_the_other_buttons(page: Page) -> None:
    page.goto("/")
    ask(page, "Hello!")
    good = page.get_by_role("button", name="Good answer")
    good.focus()
    page.keyboard.press("Enter")
    expect(good).to_have_attribute("aria-pressed", "true")
    expect(good).to_be_focused()
    expect(page.get_by_role("button", name="Regenerate")).to_be_visible()
    page.keyboard.press("Enter")
    expect(good).to_have_attribute("aria-pressed", "false")
    expect(good).to_be_focused()


def test_a_correction_that_is_not_given_leaves_everything_as_it_was(page: Page) -> None:
    page.goto("/")
    ask(page, "Hello!")
    ask_to_correct = page.get_by_role("button", name="This should have been…")
    ask_to_correct.click()
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("form.correct")).to_have_count(0)
    expect(ask_to_correct).to_be_focused()
    ask_to_correct.click()
    page.locator("form.correct textarea").fill("Good day.")
    page.get_by_role("button", name="Teach it").click()
    expect(page.locator(".correction")).to_be_focused()
    ask_to_correct.click()
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator(".correction .said")).to_have_text("Good day.")


def answer_with(page: Page, path: str, **answer: Any) -> None:
    """What a server, or a proxy before it, might say to the next request of this path."""
    page.route(path, lambda route: route.fulfill(**answer), times=1)


def test_an_error_is_told_as_text_with_what_to_do(strict_page: Page) -> None:
    page = strict_page
    page.goto("/")
    said = {"error": {"code": "queue_full", "message": "Too many <b>wait</b>.", "hint": "Ask again."}}
    answer_with(page, "**/web/ask", status=429, json=said)
    page.get_by_label("Your message").fill("Hello!")
    page.keyboard.press("Enter")
    expect(page.locator("#notices p")).to_have_text(["Too many <b>wait</b>.", "Ask again."])
    assert page.locator("#notices b").count() == 0
    expect(page.get_by_label("Your message")).to_have_value("Hello!")
    assert violations(page) == []
    page.get_by_role("button", name="Dismiss").click()
    expect(page.locator("#notices")).to_be_empty()


def test_a_foreign_error_page_never_becomes_part_of_the_page(strict_page: Page) -> None:
    page = strict_page
    page.goto("/")
    answer_with(page, "**/web/ask", status=502, content_type="text/html", body="<h1 id=evil>Bad gateway</h1>")
    page.get_by_label("Your message").fill("Hello!")
    page.keyboard.press("Enter")
    expect(page.locator("#notices")).to_contain_text("The server answered with an error (502).")
    assert page.locator("#evil").count() == 0


def test_who_was_signed_out_is_led_back_to_where_they_were(strict_page: Page) -> None:
    page = strict_page
    page.goto("/versions")
    said = {"error": {"code": "authentication_required", "message": "This server asks for an API key."}}
    answer_with(page, "**/web/versions/rollback", status=401, json=said)
    page.evaluate("document.getElementById('roll-back').disabled = false")
    page.get_by_role("button", name="Roll back").click()
    expect(page.get_by_role("link", name="Sign in")).to_have_attribute("href", "/login?next=%2Fversions")


def test_a_server_that_is_gone_is_told_and_the_question_kept(strict_page: Page) -> None:
    page = strict_page
    page.goto("/")
    page.route("**/web/ask", lambda route: route.abort(), times=1)
    page.get_by_label("Your message").fill("Hello!")
    page.keyboard.press("Enter")
    expect(page.locator("#notices")).to_contain_text("The server does not answer.")
    ask(page, "Hello!")
    expect(page.locator("#notices")).to_be_empty()


def test_regenerate_replaces_the_last_answer(page: Page, server: LiveServer) -> None:
    page.goto("/")
    ask(page, "Hello!")
    first = page.locator("article.assistant").get_attribute("id")
    page.get_by_role("button", name="Regenerate").click()
    expect(page.locator(f"article.assistant:not(#{first}) .actions")).to_have_count(1, timeout=20_000)
    expect(page.locator(f"#{first}")).to_have_count(0)
    session_id = page.url.rsplit("/", 1)[1]
    assert len(server.get(f"/v1/sessions/{session_id}")["turns"]) == 2


def test_who_asks_again_by_keyboard_stays_at_the_answer(page: Page) -> None:
    page.goto("/")
    ask(page, "Hello!")
    first = page.locator("article.assistant").get_attribute("id")
    page.get_by_role("button", name="Regenerate").focus()
    page.keyboard.press("Enter")
    expect(page.locator(f"article.assistant:not(#{first}) .actions")).to_have_count(1, timeout=20_000)
    expect(page.get_by_role("button", name="Regenerate")).to_be_focused()


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


def test_a_conversation_is_erased_with_two_presses(page: Page, server: LiveServer) -> None:
    page.goto("/")
    ask(page, "My number is 4711.")
    page.get_by_role("link", name="Erase…").click()
    expect(page.get_by_role("main")).to_contain_text("It began with “My number is 4711.”")
    page.get_by_role("link", name="Keep it").click()
    expect(page.locator("article.user .text")).to_have_text(["My number is 4711."])
    session_id = page.url.rsplit("/", 1)[1]
    page.get_by_role("link", name="Erase…").click()
    page.get_by_role("button", name="Erase for good").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Erased")
    shown = server.get(f"/v1/sessions/{session_id}")
    assert "4711" not in str(shown)
