"""A person who reloads the page while an answer is written: how many of its characters are lost.

    python -m bench.stream_reloads [--reloads 500] [--seed 0]

A real browser (Debian's Chromium) and the whole server with a scripted engine that writes a word every few
milliseconds. Each question is sent from the page, which is then reloaded at random moments until its answer is
over. What the page shows at the end is compared with what the engine wrote, and with what is on record.
"""

from __future__ import annotations

import argparse
import random
import shutil
import tempfile
from pathlib import Path
from unittest import mock

from playwright.sync_api import Page, expect, sync_playwright
from tests.api import house as house_module
from tests.api.house import House, served

from bench.results import record
from homefire.web.routes import add_pages

COMMAND = "python -m bench.stream_reloads"
ANSWER = " ".join(f"word{number}" for number in range(150))
WORD_S = 0.012
LONGEST_LOOK_MS = 120.0


def reload_until_over(page: Page, chance: random.Random, *, most: int) -> int:
    """Reload at random moments while the answer is written; returns how often it happened."""
    num_reloads = 0
    while num_reloads < most and page.locator(".streaming").count():
        page.wait_for_timeout(chance.uniform(0, LONGEST_LOOK_MS))
        if not page.locator(".streaming").count():
            break
        page.reload()
        num_reloads += 1
    return num_reloads


def lost(page: Page, house: House) -> int:
    """Characters of the last answer that are missing, doubled or wrong, on the page or on record."""
    expect(page.locator(".streaming")).to_have_count(0, timeout=30_000)
    expect(page.locator(".actions")).not_to_have_count(0)
    shown = page.locator("article.assistant > .text").last.inner_text().strip()
    session = house.store.sessions.get(page.url.rpartition("/")[2])
    tip = session.tip_message_id if session is not None else None
    recorded = house.store.messages.path(tip)[-1].message.text if tip is not None else ""
    return sum(_difference(text) for text in (shown, recorded))


def _difference(text: str) -> int:
    pairs = zip(text, ANSWER, strict=False)
    return abs(len(text) - len(ANSWER)) + sum(seen != written for seen, written in pairs)


def main() -> None:
    """Measure and record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reloads", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)
    num_reloads = num_lost = num_answers = 0
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.object(house_module, "CONTEXT_LENGTH", 4096),
        served(Path(folder), answer=ANSWER, delay_s=WORD_S) as (url, house),
        sync_playwright() as playwright,
    ):
        add_pages(house.app)
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_context(base_url=url).new_page()
        while num_reloads < arguments.reloads:
            page.goto("/")
            page.get_by_label("Your message").fill(f"Question {num_answers}")
            page.keyboard.press("Enter")
            page.wait_for_url("**/chat/*")
            num_reloads += reload_until_over(page, chance, most=arguments.reloads - num_reloads)
            num_lost += lost(page, house)
            num_answers += 1
            print(f"{num_reloads} reloads of {num_answers} answers: {num_lost} characters lost", flush=True)
        browser.close()
    record(
        f"characters lost by {num_reloads} reloads at random moments of a stream ({num_answers} answers)",
        num_lost,
        "characters",
        reach="0",
        better="lower",
        command=COMMAND,
    )


if __name__ == "__main__":
    main()
