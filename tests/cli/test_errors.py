from __future__ import annotations

import pytest

from homefire import errors
from homefire.cli.exits import EXIT_CODES
from homefire.cli.progress import NotLearned
from homefire.errors import HomefireError
from tests.cli.conftest import Command


def test_every_error_has_a_documented_exit_code() -> None:
    kinds = [
        kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, HomefireError)
    ]
    assert len(kinds) > 20
    undocumented = {kind.__name__ for kind in (*kinds, NotLearned) if kind.exit_code not in EXIT_CODES}
    assert undocumented == set()


def test_an_error_says_what_why_and_what_to_do_in_three_lines(homefire: Command) -> None:
    result = homefire("models", "show", "embr")
    assert result.code == 4
    assert result.out == ""
    assert result.err.splitlines() == [
        "error: No model is called “embr”.",
        "why: model_not_found: name = embr, nearest = ember",
        "do: Did you mean ember? `homefire models list` shows all.",
    ]


def test_an_error_is_one_json_object_for_programs(homefire: Command) -> None:
    result = homefire("models", "show", "embr", "--json")
    assert (result.code, result.err) == (4, "")
    assert result.document == {
        "error": {
            "code": "model_not_found",
            "message": "No model is called “embr”.",
            "hint": "Did you mean ember? `homefire models list` shows all.",
            "details": {"name": "embr", "nearest": "ember"},
        }
    }


@pytest.mark.parametrize("arguments", [("status",), ("--json", "runs", "list"), ("ask", "Hi"), ("chat",)])
def test_without_a_server_every_client_command_exits_with_13(
    offline: Command, arguments: tuple[str, ...]
) -> None:
    assert offline(*arguments).code == 13


def test_wrong_usage_is_reported_like_any_other_error(offline: Command) -> None:
    result = offline("runs", "lisst", "--json")
    assert result.code == 2
    assert "Did you mean 'list'?" in result.document["error"]["message"]
    result = offline("runs", "show")
    assert result.code == 2
    assert result.err.startswith("error: Missing argument")
    assert "homefire runs show --help" in result.err


def test_options_are_accepted_before_and_after_the_command(offline: Command) -> None:
    before = offline("--url", "http://127.0.0.1:9", "--json", "status")
    after = offline("status", "--url", "http://127.0.0.1:9", "--json")
    assert before == after
    assert before.document["error"]["details"]["url"] == "http://127.0.0.1:9"


def test_escape_sequences_in_an_error_never_reach_the_terminal(homefire: Command) -> None:
    result = homefire("ask", "--model", "\x1b[2Jx", "--url", "http://\x1b]0;evil")
    assert "\x1b" not in result.err
