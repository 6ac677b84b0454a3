"""Answers as HTML: nothing foreign, nothing the policy forbids, code that can be read and copied."""

from __future__ import annotations

import re

import pytest

from homefire.web.markdown import LANGUAGES, MAX_HIGHLIGHTED_CHARS, render_markdown


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "![x](https://example.com/x.png)",
        "[x](javascript:alert(1))",
        "<https://example.com>",
        "```<img src=x onerror=alert(1)>\ncode\n```",
        "```html\n<img src=x onerror=alert(1)>\n```",
        "`<b>`",
    ],
)
def test_nothing_of_an_answer_becomes_an_element_that_acts(text: str) -> None:
    html = render_markdown(text)
    assert not re.search(r"<(script|img|a|b|iframe)\b", html)
    assert "onerror" not in re.sub(r">[^<]*<", "><", html)


def test_columns_are_aligned_by_classes_as_the_policy_allows_no_styles() -> None:
    html = render_markdown("| a | b | c |\n|:--|--:|:-:|\n| one word | 2 | 3 |\n")
    assert "style=" not in html
    assert '<th class="left">a</th>' in html
    assert '<td class="right">2</td>' in html
    assert '<td class="center">3</td>' in html
    assert 'class="table" tabindex="0"' in html


def test_code_is_coloured_named_and_can_be_copied() -> None:
    html = render_markdown('```python title="x"\ndef f():\n    return "s"  # why\n```\n')
    assert '<span class="k">def</span>' in html
    assert '<span class="s">&quot;s&quot;</span>' in html
    assert '<span class="c"># why</span>' in html
    assert "<span>python</span>" in html
    assert html.count("data-copy") == 1
    assert "style=" not in html


@pytest.mark.parametrize("language", sorted(LANGUAGES))
def test_colouring_changes_no_character_of_the_code(language: str) -> None:
    code = "\n  a = 'x' && <b> \"y\"\t# z\n\n\nif (1) { return -2; }  \n"
    html = render_markdown(f"```{language}\n{code}```\n")
    shown = re.sub(r"<[^>]+>", "", html.partition("<code>")[2].partition("</code>")[0])
    for entity, character in {"&lt;": "<", "&gt;": ">", "&quot;": '"', "&#x27;": "'", "&amp;": "&"}.items():
        shown = shown.replace(entity, character)
    assert shown == code


def test_an_unknown_language_and_very_long_code_are_shown_plainly() -> None:
    assert "<code>x = 1\n</code>" in render_markdown("```klingon\nx = 1\n```")
    long = "x = 1\n" * (MAX_HIGHLIGHTED_CHARS // 6 + 1)
    assert f"<code>{long}</code>" in render_markdown(f"```python\n{long}```")
