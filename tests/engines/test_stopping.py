"""Stop strings, however the text is cut into pieces."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from homefire.engines.base import TokenLogprob
from homefire.engines.stopping import StopFilter

texts = st.text(alphabet="abé", max_size=30)
stop_lists = st.lists(st.text(alphabet="abé", min_size=1, max_size=4), max_size=3)


def run(pieces: list[str], stops: list[str]) -> tuple[str, str | None, list[str]]:
    """What was shown, the stop string that ended it, and the tokens whose log-probabilities came along."""
    keeper, shown, tokens = StopFilter(stops), "", []
    for piece in pieces:
        passed = keeper.push(piece, [TokenLogprob(piece, -1.0)])
        shown += passed.text
        tokens += [entry.token for entry in passed.logprobs]
        if passed.stop_string is not None:
            return shown, passed.stop_string, tokens
    passed = keeper.flush()
    return shown + passed.text, None, tokens + [entry.token for entry in passed.logprobs]


def first_completed_stop(text: str, stops: list[str]) -> tuple[int, str] | None:
    """The stop string that is complete first when the text comes character by character."""
    for end in range(1, len(text) + 1):
        hits = [(text.index(stop), -len(stop), stop) for stop in stops if stop in text[:end]]
        if hits:
            place, _, stop = min(hits)
            return place, stop
    return None


@given(texts, stop_lists)
def test_character_by_character_the_first_complete_stop_string_ends_it(text: str, stops: list[str]) -> None:
    shown, stop, _ = run(list(text), stops)
    expected = first_completed_stop(text, stops)
    assert (shown, stop) == ((text, None) if expected is None else (text[: expected[0]], expected[1]))


@given(st.lists(texts, max_size=6), stop_lists)
def test_nothing_of_a_stop_string_is_ever_shown(pieces: list[str], stops: list[str]) -> None:
    shown, stop, _ = run(pieces, stops)
    whole = "".join(pieces)
    assert whole.startswith(shown)
    assert not any(candidate in shown for candidate in stops)
    assert (stop is None) == (not any(candidate in whole for candidate in stops))
    if stop is None:
        assert shown == whole


@given(st.lists(st.text(alphabet="abé", min_size=1, max_size=3), max_size=8), stop_lists)
def test_log_probabilities_come_for_exactly_the_tokens_shown_whole(
    pieces: list[str], stops: list[str]
) -> None:
    shown, _, tokens = run(pieces, stops)
    expected, length = [], 0
    for piece in pieces:
        length += len(piece)
        if length > len(shown):
            break
        expected.append(piece)
    assert tokens == expected


def test_text_that_may_begin_a_stop_string_waits() -> None:
    keeper = StopFilter(["END"])
    assert keeper.push("yes E").text == "yes "
    assert keeper.push("N").text == ""
    assert keeper.push("X").text == "ENX"
    assert keeper.flush().text == ""
