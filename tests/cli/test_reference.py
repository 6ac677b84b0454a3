from __future__ import annotations

from tools.docs import cli_reference


def test_the_committed_page_is_what_the_commands_make() -> None:
    committed = cli_reference.PAGE.read_text(encoding="utf-8")
    assert committed == cli_reference.make_page(), "run: python -m tools.docs.cli_reference"
