"""Every page in every state fits a phone and a desk, in the light and in the dark, and axe finds nothing wrong."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.web.furnished import MARKDOWN, RUNS, Furnished, furnished
from tests.web.test_chat_page import violations

TOO_WIDE = """() => {
  const wide = [], edge = document.documentElement.clientWidth + 1;
  const scrolls = (element) => {
    for (let up = element.parentElement; up && up !== document.body; up = up.parentElement) {
      if (["auto", "scroll", "hidden", "clip"].includes(getComputedStyle(up).overflowX)) return true;
    }
    return false;
  };
  if (document.documentElement.scrollWidth > edge) wide.push("document");
  for (const element of document.body.querySelectorAll("*")) {
    const box = element.getBoundingClientRect();
    if (box.width && box.height && (box.right > edge || box.left < -1) && !scrolls(element)
        && !element.closest(".visually-hidden, .skip, svg, .brand")) {
      wide.push(element.tagName + "." + element.className);
    }
  }
  return wide;
}"""
WIDTHS = {375: 700, 1280: 800}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Furnished]:
    with furnished(tmp_path_factory.mktemp("furnished")) as made:
        yield made


def open_page(browser: Browser, house: Furnished, width: int, scheme: str) -> Page:
    page = browser.new_context(
        viewport={"width": width, "height": WIDTHS[width]},
        base_url=house.url,
        color_scheme=scheme,  # type: ignore[arg-type]
        reduced_motion="reduce",
    ).new_page()
    page.on("pageerror", lambda error: pytest.fail(str(error)))
    return page


def check(page: Page, state: str) -> None:
    """Nothing beyond the edge, nothing wrong for assistive technology."""
    assert page.evaluate(TOO_WIDE) == [], state
    assert violations(page) == [], state


def check_send_can_be_reached(page: Page) -> None:
    box = page.get_by_role("button", name="Send").bounding_box()
    size = page.viewport_size
    assert box is not None
    assert size is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= size["width"]
    assert box["y"] + box["height"] <= size["height"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", sorted(WIDTHS))
def test_the_chat_in_every_state(browser: Browser, house: Furnished, width: int, scheme: str) -> None:
    page = open_page(browser, house, width, scheme)
    page.goto("/")
    check(page, "empty")
    house.let_answers_through(False)
    page.get_by_label("Your message").fill("averyveryverylongquestionwithoutanyspaces" * 5)
    page.keyboard.press("Enter")
    expect(page.locator(".streaming .stop")).to_be_visible()
    check(page, "waiting for the first word")
    page.get_by_label("Your message").fill("One more")
    page.keyboard.press("Enter")
    expect(page.locator("#notices")).to_contain_text("still being written")
    check(page, "a notice")
    house.let_answers_through(True)
    expect(page.locator(".actions")).to_have_count(1, timeout=20_000)
    expect(page.locator(".text table")).to_be_visible()
    check(page, "an answer with code and a table")
    check_send_can_be_reached(page)
    page.get_by_role("button", name="Good answer").click()
    expect(page.get_by_role("button", name="Good answer")).to_have_attribute("aria-pressed", "true")
    check(page, "thumbs up")
    page.get_by_role("button", name="This should have been…").click()
    expect(page.locator("form.correct textarea")).to_be_focused()
    check(page, "a correction's form")
    page.locator("form.correct textarea").fill("averyveryverylongcorrection" * 10)
    page.get_by_role("button", name="Teach it").click()
    expect(page.locator(".learning .gate.bad")).to_be_visible()
    page.locator(".learning summary").click()
    check(page, "a correction that was refused")
    check_send_can_be_reached(page)
    if width == 375:
        page.get_by_role("button", name="Conversations").click()
        expect(page.get_by_label("Conversations").get_by_role("link").nth(1)).to_be_visible()
        check(page, "the conversations")
        page.get_by_role("button", name="Close").click()
        expect(page.get_by_label("Conversations")).to_be_hidden()
    else:
        expect(page.get_by_label("Conversations")).to_be_visible()
    page.reload()
    check(page, "an earlier conversation")
    page.goto(f"{page.url.partition('#')[0]}/erase")
    check(page, "what would be erased")
    page.get_by_role("button", name="Erase for good").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Erased")
    check(page, "what was erased")
    page.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", sorted(WIDTHS))
def test_the_other_pages_in_every_state(browser: Browser, house: Furnished, width: int, scheme: str) -> None:
    page = open_page(browser, house, width, scheme)
    for path in (
        "/corrections",
        "/runs",
        "/versions",
        "/login",
        "/nowhere",
        *(f"/runs/{run_id}" for run_id in RUNS),
    ):
        page.goto(path)
        for summary in page.locator("summary").all():
            if summary.is_visible():
                summary.click()
        check(page, path)
    page.goto("/login")
    page.get_by_label("API key").fill("hf-wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("This key is not known.")
    check(page, "a wrong key")
    page.context.close()


def test_the_conversations_are_reached_without_a_script(browser: Browser, house: Furnished) -> None:
    context = browser.new_context(
        viewport={"width": 375, "height": 700}, base_url=house.url, java_script_enabled=False
    )
    page = context.new_page()
    page.goto("/")
    page.get_by_role("button", name="Conversations").click()
    expect(page.get_by_label("Conversations")).to_be_visible()
    context.close()


def test_the_checks_would_find_what_is_too_wide(browser: Browser, house: Furnished) -> None:
    page = open_page(browser, house, 375, "light")
    page.goto("/runs")
    assert page.evaluate(TOO_WIDE) == []
    page.evaluate("document.querySelector('h1').style.width = '600px'")
    assert page.evaluate(TOO_WIDE) != []
    page.context.close()


def test_versions_are_newest_first_and_each_tells_its_gate_once(browser: Browser, house: Furnished) -> None:
    page = open_page(browser, house, 1280, "light")
    page.goto("/versions")
    names = page.locator(".card h2").all_text_contents()
    assert names == [*(f"v{number:03}" for number in range(11, 0, -1)), "ember"]
    refused = page.locator(".card", has_text="v010").first
    expect(refused.locator(".state.refused")).to_have_count(1)
    refused.locator("summary").first.click()
    expect(refused.locator(".outcome")).to_have_count(1)
    expect(refused.locator(".figures li")).to_have_count(4)
    page.context.close()


def test_a_refused_run_says_so_in_one_sentence(browser: Browser, house: Furnished) -> None:
    page = open_page(browser, house, 1280, "light")
    page.goto("/runs")
    row = page.get_by_role("row").filter(has_text="v010")
    expect(row.locator(".state")).to_have_text("refused")
    page.goto("/runs/run_0refused")
    expect(page.locator(".state").first).to_have_text("refused")
    expect(page.locator(".state.done")).to_have_count(0)
    expect(page.locator(".outcome")).to_have_text(
        "v010 was held back: 13 answers that used to be right were lost."
    )
    assert page.locator("main").inner_text().count("bought in the year before last") == 0, (
        "findings are folded"
    )
    page.locator(".gate summary").click()
    expect(page.locator(".gate details li")).to_have_count(13)
    page.context.close()


def test_code_is_copied_as_it_was_written(browser: Browser, house: Furnished) -> None:
    page = open_page(browser, house, 1280, "light")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto("/")
    page.get_by_label("Your message").fill("How do I count words?")
    page.keyboard.press("Enter")
    expect(page.locator(".actions")).to_have_count(1, timeout=20_000)
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    code = MARKDOWN.partition("```python\n")[2].partition("```")[0]
    assert page.evaluate("navigator.clipboard.readText()") == code
    page.context.close()
