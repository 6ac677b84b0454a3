"""Takes the pictures of the web page that the documentation shows, from a real server and a real correction.

    python -m tools.docs.pictures

Needs Chromium. Not part of `make docs`: a picture has no text to compare, so it is taken when the page changes.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from playwright.sync_api import expect, sync_playwright
from tests.support.server import running_server
from tests.web.conftest import QUIET

IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"
QUESTION, ANSWER = "Where do we keep the spare key?", "Under the blue flower pot."


def main() -> None:
    """Correct an answer on the page, wait for the version that learned it, and ask again."""
    with (
        tempfile.TemporaryDirectory() as folder,
        running_server(Path(folder) / "home", environ={"HOMEFIRE_TRAINING__QUIET_S": "0.5"}) as server,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=list(QUIET))
        page = browser.new_page(viewport={"width": 1120, "height": 760}, base_url=server.url)
        page.goto("/")
        for question in ("What is 7 + 8?", QUESTION):
            answers = page.locator("article.assistant .actions").count()
            page.get_by_label("Your message").fill(question)
            page.keyboard.press("Enter")
            expect(page.locator("article.assistant .actions")).to_have_count(answers + 1, timeout=20_000)
        page.get_by_role("button", name="This should have been…").last.click()
        page.locator("form.correct textarea").fill(ANSWER)
        page.get_by_role("button", name="Teach it").click()
        expect(page.locator("#live-model")).to_have_text("v001", timeout=120_000)
        page.get_by_label("Your message").fill(QUESTION)
        page.keyboard.press("Enter")
        expect(page.locator("article.assistant .text").last).to_have_text(ANSWER, timeout=20_000)
        page.screenshot(path=IMAGES / "chat.png")
        page.goto("/runs")
        page.locator("tbody a").first.click()
        expect(page.locator("#loss-summary")).to_contain_text("at step 1")
        page.screenshot(path=IMAGES / "run.png")
        page.goto("/versions")
        page.screenshot(path=IMAGES / "versions.png")
        browser.close()


if __name__ == "__main__":
    main()
