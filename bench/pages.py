"""The pages in a real browser: what a first visit loads, and what is wrong with any page in any state.

    python -m bench.pages

The states, widths and colour schemes are those of `tests/web/test_layout.py`, counted here and not stopped at the
first finding: elements that reach beyond the window, and violations that axe reports.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from unittest import mock

from playwright.sync_api import Browser, Page, sync_playwright
from tests.web import test_first_load, test_layout
from tests.web.furnished import Furnished, furnished
from tests.web.test_chat_page import violations

from bench.results import record

COMMAND = "python -m bench.pages"


class Findings:
    """Counted over all states."""

    def __init__(self) -> None:
        self.num_states = self.num_too_wide = self.num_violations = 0

    def look(self, page: Page, state: str) -> None:
        """Takes the place of the tests' `check`."""
        too_wide, wrong = page.evaluate(test_layout.TOO_WIDE), violations(page)
        self.num_states += 1
        self.num_too_wide += len(too_wide)
        self.num_violations += len(wrong)
        if too_wide or wrong:
            print(state, too_wide, wrong)


def visit_every_page(browser: Browser, house: Furnished) -> list[test_first_load.Visit]:
    """A first visit to each page, each with an empty cache."""
    return [test_first_load.first_visit(browser, house, path) for path in test_first_load.PATHS]


def look_at_every_state(browser: Browser, house: Furnished) -> Findings:
    """Every page in every state at two widths and in two colour schemes."""
    findings = Findings()
    with mock.patch.object(test_layout, "check", findings.look):
        for width in test_layout.WIDTHS:
            for scheme in ("light", "dark"):
                test_layout.test_the_chat_in_every_state(browser, house, width, scheme)
                test_layout.test_the_other_pages_in_every_state(browser, house, width, scheme)
    return findings


def main() -> None:
    """Measure and record."""
    with (
        tempfile.TemporaryDirectory() as folder,
        furnished(Path(folder)) as house,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        visits = visit_every_page(browser, house)
        findings = look_at_every_state(browser, house)
        browser.close()
    pages = f"{len(visits)} pages"
    states = f"{findings.num_states} page states at 375 and 1280 px, light and dark"
    for what, value, unit, reach in (
        (f"first load of the heaviest of {pages}", max(one.num_bytes for one in visits) / 1e3, "KB", "<= 60"),
        (
            f"requests of a first load (most of {pages})",
            max(len(one.urls) for one in visits),
            "requests",
            "<= 8",
        ),
        (f"requests to another host ({pages})", sum(len(one.off_host) for one in visits), "requests", "0"),
        (f"elements beyond the window, {states}", findings.num_too_wide, "elements", "0"),
        (f"violations that axe reports, {states}", findings.num_violations, "violations", "0"),
    ):
        record(what, value, unit, reach=reach, better="lower", command=COMMAND)


if __name__ == "__main__":
    main()
