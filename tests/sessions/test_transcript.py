"""Every part of a message can be read, and none can pass for something else."""

from __future__ import annotations

import pytest

from homefire.sessions.transcript import transcript
from homefire.types import Attachment, Content, Message, Part, Reasoning, Text, ToolCall, ToolResult
from homefire.web.markdown import render_markdown

CALL = ToolCall("call_1", "look_up", {"what": "the *key*", "depth": 2})
RESULT = ToolResult("call_1", (Text("Under the pot.\n```\nnot the end\n```"),))
PICTURE = Attachment("ab" * 32, "image/png", 12345, "garden.png")


def test_text_alone_stays_as_it_is() -> None:
    assert transcript("a *b*\n\n> c") == "a *b*\n\n> c"


@pytest.mark.parametrize(
    ("part", "shown"),
    [
        (Reasoning("First.\n\nThen."), ["Thought:", "> First.\n>\n> Then."]),
        (CALL, ["Calls `look_up`:", '```json\n{\n  "what": "the *key*",\n  "depth": 2\n}\n```']),
        (RESULT, ["A tool answered:", "````\nUnder the pot.\n```\nnot the end\n```\n````"]),
        (ToolResult("call_1", (Text("no"),), is_error=True), ["A tool failed:", "```\nno\n```"]),
        (PICTURE, ["Attached: `garden.png` (image/png, 12,345 bytes)"]),
        (Attachment("ab" * 32, "image/png", 1), ["Attached: `abababababab`"]),
        (ToolResult("call_1", (Text("see"), PICTURE)), ["```\nsee\n```\n\nAttached: `garden.png`"]),
    ],
)
def test_each_part_is_introduced_by_what_it_is(part: Part, shown: list[str]) -> None:
    content: Content = Message("assistant", (Text("Before."), part, Text("After."))).content
    text = transcript(content)
    assert text.startswith("Before.\n\n")
    assert text.endswith("\n\nAfter.")
    for one in shown:
        assert one in text


def test_a_name_cannot_end_its_own_quotation() -> None:
    text = transcript((ToolCall("c", "x` <b>bold</b>\n# title", {}),))
    assert "<b>" not in render_markdown(text)
    assert "<h1" not in render_markdown(text)
