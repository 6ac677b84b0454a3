"""An answer while it is written: never raw marks, never a finished block touched, never more than linear."""

from __future__ import annotations

import re
from typing import Any

import pytest

from homefire.web import partial_markdown
from homefire.web.markdown import parser, render_code, render_markdown
from homefire.web.partial_markdown import (
    INTERVAL_S,
    MAX_TAIL_CHARS,
    STEP_CHARS,
    PartialMarkdown,
)

MAX_ELEMENTS = 1_200
"""In one step; 5 ms are about 1,500."""

ANSWER = """Hello **bold words** and `some code`, *soft* ones; 2 * 3 is six.

- one **item**
- two
  - nested `x`

1. first
2. second

| Name | Count |
|:-----|------:|
| long word | 12 |
| b | 3 |

### A heading

```python
def f(x):
    return "**not bold**"  # `nor code`
```

> quoted
> text

~~~
plain
~~~

The end."""


def pages(text: str, *, chunk: int = 1) -> list[str]:
    """What stands on the page after each piece."""
    partial = PartialMarkdown()
    settled, shown = "", []
    for index, start in enumerate(range(0, len(text), chunk)):
        partial.feed(text[start : start + chunk])
        for update in partial.updates(index * INTERVAL_S * 2):
            settled += update.settled
            shown.append(settled + update.tail)
    return shown


def visible(html: str) -> str:
    """The text outside of code blocks."""
    return re.sub(r"<[^>]+>", "", re.sub(r"<pre.*?</pre>", "", html, flags=re.DOTALL))


NEIGHBOURS = """```python
x = 1
```

| a | b |
|---|---|
| 1 | 2 |

| c | d |
|---|---|
| 3 | 4 |

~~~
plain
~~~
**bold after code** and

```
y
```
- an *item*
"""


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 50])
@pytest.mark.parametrize("answer", [ANSWER, NEIGHBOURS], ids=["each kind", "code and tables before others"])
def test_marks_are_never_seen_raw(answer: str, chunk: int) -> None:
    for page in pages(answer, chunk=chunk):
        text = visible(page).replace("2 * 3", "").replace("2 *", "")
        assert not re.search(r"[|`#~]|\*\*|^\s*[->*]|\d\.", text, re.MULTILINE), text


@pytest.mark.parametrize("chunk", [1, 3, 50])
def test_the_last_page_is_the_whole_answer(chunk: int) -> None:
    assert pages(ANSWER, chunk=chunk)[-1] == render_markdown(ANSWER)


@pytest.mark.parametrize(
    "text", ["text\n#tag of it\n", "text\n-b\n", "text\n1.x\n", "- a\n\n  b\n", "a | b\n--|--\n1 | 2\n"]
)
def test_a_line_counts_when_it_is_whole(text: str) -> None:
    for chunk in range(1, len(text)):
        assert pages(text, chunk=chunk)[-1] == render_markdown(text), chunk


def test_a_page_only_grows_where_a_block_is_finished() -> None:
    partial = PartialMarkdown()
    settled: list[str] = []
    for index, character in enumerate(ANSWER):
        partial.feed(character)
        settled += [update.settled for update in partial.updates(float(index)) if update.settled]
    assert render_markdown(ANSWER).startswith("".join(settled))
    assert len(settled) == 7, (
        "of nine blocks: the last line is not whole, so the one before it may still change"
    )


@pytest.mark.parametrize(
    "text", ["text\n-", "text\n=", "1", "- ", "```", "``", "| a | b |", "| a | b |\n|--", "> ", "##"]
)
def test_half_a_mark_is_held_back(text: str) -> None:
    assert visible(pages(text)[-1]).strip() in ("", "text")


def test_what_may_still_change_is_not_settled() -> None:
    shown = pages("one\n\ntwo\n---\n", chunk=1)
    assert shown[-1] == "<p>one</p>\n<h2>two</h2>\n"


@pytest.mark.parametrize(
    "block",
    [
        "word " * 20_000,
        "x" * 100_000,
        "```python\n" + "x = f(1)  # hello\n" * 5_000,
        "- an item of a list\n" * 5_000,
        "| a | b |\n|---|---|\n" + "| 1 | 2 |\n" * 9_000,
        "> quoted\n" * 9_000,
        "\n" * 90_000,
        "```" + "x" * 50_000,
        "| " + "a" * 290 + " | b |\n|" + "-" * 280 + "|---|\n" + "| 1 | 2 |\n" * 5_000,
        "~~~\n\n" + "x" * 50_000,
        "- a\n" * 12_000,
        "*a* " * 12_000,
        "|" + "a|" * 60 + "\n|" + "-|" * 60 + "\n" + "|1\n" * 12_000,
        "|" + "a|" * 11 + "\n|" + "-|" * 11 + "\n" + "|1\n" * 12_000,
        "# a\n" * 12_000,
        "```python\n" + "f(1)+" * 10_000,
    ],
    ids=[
        "paragraph",
        "one word",
        "fence",
        "list",
        "table",
        "quote",
        "blank lines",
        "fence line",
        "table head",
        "code line",
        "short items",
        "short marks",
        "short rows of a wide table",
        "short rows",
        "short headings",
        "short words of code",
    ],
)
def test_each_step_is_short_and_all_together_are_linear(block: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted: characters that are read, and elements that are made of them (about 3 µs each)."""
    read, made = [0], [0]

    class CountingParser:
        def __init__(self, **options: Any) -> None:
            self._parser = parser(**options)

        def parse(self, text: str) -> Any:
            tokens = self._parser.parse(text)
            read[0] += len(text)
            made[0] += sum(1 + len(token.children or ()) for token in tokens)
            return tokens

        def render(self, text: str) -> str:
            self.parse(text)
            return str(self._parser.render(text))

    def count_code(code: str, *more: Any, **named: Any) -> str:
        html = render_code(code, *more, **named)
        read[0] += len(code)
        made[0] += html.count("<span")
        return html

    monkeypatch.setattr(partial_markdown, "render_code", count_code)
    monkeypatch.setattr(partial_markdown, "parser", CountingParser)
    partial = PartialMarkdown()
    num_steps, most_read, most_made = 0, 0, 0
    for index, start in enumerate(range(0, len(block), 2 * STEP_CHARS)):
        partial.feed(block[start : start + 2 * STEP_CHARS])
        for _ in partial.updates(float(index)):
            most_read, most_made = max(most_read, read[0]), max(most_made, made[0])
            read[0] = made[0] = 0
            num_steps += 1
    assert most_read <= 3 * (MAX_TAIL_CHARS + STEP_CHARS)
    assert most_made <= MAX_ELEMENTS
    assert num_steps <= 2 + len(block) // STEP_CHARS * 2 + block.count("\n") // 2


def test_a_long_block_comes_in_parts_and_loses_nothing() -> None:
    code = "".join(f"line_{number} = {number}\n" for number in range(500))
    last = pages(f"```python\n{code}```\n", chunk=200)[-1]
    assert 'class="code part"' in last
    assert re.sub(r"<[^>]+>", "", "".join(re.findall(r"<code>(.*?)</code>", last, re.DOTALL))) == code
    table = "| a | b |\n|---|--:|\n" + "".join(f"| row {number} | 1 |\n" for number in range(200))
    last = pages(table, chunk=200)[-1]
    assert [int(number) for number in re.findall(r"row (\d+)", last)] == list(range(200))
    assert "|" not in visible(last)


def test_a_page_changes_at_most_every_interval() -> None:
    partial = PartialMarkdown()
    partial.feed("one ")
    assert len(list(partial.updates(10.0))) == 1
    partial.feed("two")
    assert list(partial.updates(10.0 + INTERVAL_S / 2)) == []
    [update] = partial.updates(10.0 + INTERVAL_S)
    assert update.tail == "<p>one two</p>\n"
    assert list(partial.updates(20.0)) == []


def test_the_limits_are_what_the_module_promises() -> None:
    assert STEP_CHARS < MAX_TAIL_CHARS <= 1_000, "a step longer than 5 ms holds up everyone"
    assert partial_markdown.INTERVAL_S >= 0.03
