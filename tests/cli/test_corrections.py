"""`homefire corrections …`, and what other commands say of corrections that nothing teaches."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Command
from tests.cli.fake_server import RUN, FakeServer, correction_view, run_view

ID = "eeeeeeee"
REFUSED = correction_view(
    "refused",
    run_id=RUN,
    run_state="refused",
    version="v002",
    why="It was not learned after 240 steps: it is answered “No.”.",
    reasons=("The correction was not learned.",),
    helps="A shorter answer helps.",
    next="Nothing more happens by itself.",
)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("list",), "Under the pot."),
        (("list", "--state", "waiting"), "The next run learns it."),
        (("show", ID), "Where is the key?"),
        (("edit", ID, "--answer", "On the shelf."), "On the shelf."),
        (("withdraw", ID, "--yes", "--why", "a slip"), "It is withdrawn."),
        (("retry", ID), f"homefire runs watch {RUN}"),
        (("settle", ID, "--yes"), "Kept: “Where is the key?”"),
    ],
)
def test_each_command_says_what_it_did_and_speaks_json(
    homefire: Command, arguments: tuple[str, ...], words: str
) -> None:
    prose = homefire("corrections", *arguments)
    assert prose.code == 0, prose.err
    assert words in prose.out
    programs = homefire("corrections", *arguments, "--json")
    assert programs.code == 0
    assert isinstance(programs.document, dict)


def test_what_a_person_gives_is_sent(homefire: Command, server: FakeServer) -> None:
    homefire("corrections", "edit", ID, "--answer", "b", "--question", "q")
    homefire("corrections", "withdraw", ID, "--yes", "--why", "a slip")
    assert server.state.sent("PATCH", f"/v1/corrections/{ID}") == [{"answer": "b", "question": "q"}]
    assert server.state.sent("DELETE", f"/v1/corrections/{ID}") == [{"why": "a slip"}]


def test_nothing_is_withdrawn_without_a_yes_or_edited_without_a_change(
    homefire: Command, server: FakeServer
) -> None:
    assert homefire("corrections", "withdraw", ID).code == 2
    assert homefire("corrections", "edit", ID).code == 2
    assert [verb for verb, _, _ in server.state.requests if verb != "GET"] == []


@pytest.mark.parametrize("arguments", [("status",), ("queue", "list")])
def test_what_nothing_teaches_is_named_with_why_and_what_comes_next(
    homefire: Command, server: FakeServer, arguments: tuple[str, ...]
) -> None:
    assert "not learned" not in homefire(*arguments).out
    server.state.unlearned = (REFUSED,)
    out = homefire(*arguments).out
    for words in (
        "1 correction not learned",
        "refused",
        "Where is the key?",
        REFUSED.why,
        REFUSED.helps,
        REFUSED.next,
    ):
        assert words in out


def test_a_run_shows_its_step_and_the_text_of_its_corrections(homefire: Command, server: FakeServer) -> None:
    server.state.run = run_view("refused", corrections=(REFUSED,), promoted=False, why="short.")
    out = homefire("runs", "show", RUN).out
    assert "refused  “Where is the key?” → “Under the pot.”" in out
    assert "step" in out
