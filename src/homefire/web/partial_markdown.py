"""An answer as HTML while it is being written, in steps that never touch what was shown as finished.

    partial = PartialMarkdown()
    partial.feed("Some **wor")
    for update in partial.updates(now_s):    # nothing, if the page changed a moment ago
        ...                             # append update.settled, then replace the tail by update.tail

Two places are on the page: blocks that can no longer change (`settled`, appended to) and the block that is being
written (`tail`, replaced). A Markdown block is finished when a later one has begun on a whole line, so only the last
one is ever rendered again. A mark that is only half there (a fence's first backticks, the first row of a table, `**`
without its end) is held back or closed, so that it is never seen raw.

One step takes in `STEP_CHARS` (of short lines `STEP_LINES`) and renders at most so many more than `MAX_TAIL_CHARS`
(`MAX_TAIL_LINES`), at most 4 ms: a block that outgrows that is settled in parts. All steps of an answer together cost
its length plus a constant for each step.
When the answer has ended it is rendered as a whole once (`render_markdown`), which also joins those parts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from homefire.web.markdown import parser, render_code

if TYPE_CHECKING:
    from markdown_it import MarkdownIt

MAX_TAIL_CHARS, MAX_TAIL_LINES = 360, 16
STEP_CHARS, STEP_LINES = 180, 8
MAX_CELLS, MAX_COLUMNS = 60, 20
INTERVAL_S = 0.05
"""A page is changed at most so often: an engine may write a word every 5 ms."""
MAX_HELD_CHARS = 200
"""A line longer than this is shown whatever it may become."""

_HALF_MARK = re.compile(r"[\s>]*(?:[`~]+[^`\s]*|#{1,6}|[-+*_=:|]|[-*_=:|][-*_=:|\s]*|\d{1,9}[.)]?)?\s*")
"""A line that has only the marks that begin a block."""
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_ITEM = re.compile(r" {0,3}(?:[-+*]|\d{1,9}[.)])\s")
_STRONG = re.compile(r"(?<![\w*])\*\*(?![\s*])")
_EMPHASIS = re.compile(r"(?<![\w*])\*(?![\s*])")


@dataclass(frozen=True)
class Update:
    """HTML to append to the finished blocks, and what is after them now."""

    settled: str
    tail: str


class PartialMarkdown:
    """The text so far. For one answer."""

    def __init__(self) -> None:
        self._waiting: list[str] = []
        self._tail = ""
        self._shown_at_s = -INTERVAL_S

    def feed(self, text: str) -> None:
        """More of the answer. Costs nothing yet."""
        self._waiting.append(text.replace("\r", ""))

    def updates(self, now_s: float) -> Iterator[Update]:
        """What to show for all that was fed; nothing within `INTERVAL_S` of the last time.

        Each step is short: let others run between them.
        """
        if not self._waiting or now_s - self._shown_at_s < INTERVAL_S:
            return
        self._shown_at_s = now_s
        text = "".join(self._waiting)
        self._waiting.clear()
        start = 0
        while start < len(text):
            more = self._step(text, start)
            start += len(more)
            self._tail += more
            settled = self._settle() if "\n" in more or len(self._tail) > MAX_TAIL_CHARS else ""
            yield Update(settled, _render(closed(self._tail)))

    def _step(self, text: str, start: int) -> str:
        """What one step takes in: fewer characters where each line is an item or a row of its own."""
        more = text[start : start + STEP_CHARS]
        most = STEP_LINES * _most_lines(self._tail + more) // MAX_TAIL_LINES
        if _FENCE.match(self._tail) or more.count("\n") <= most:
            return more
        return "".join(more.splitlines(keepends=True)[:most])

    def _settle(self) -> str:
        """Takes the finished blocks off the tail, as HTML."""
        boundary = self._last_block_at(self._tail[: self._tail.rfind("\n") + 1])
        html = _render(self._tail[:boundary]) if boundary else ""
        self._tail = self._tail[boundary:]
        parts = []
        while self._is_too_long():
            parts.append(self._settle_part())
        return html + "".join(parts)

    def _is_too_long(self) -> bool:
        if len(self._tail) > MAX_TAIL_CHARS:
            return True
        return self._tail.count("\n") > _most_lines(self._tail) and not _FENCE.match(self._tail)

    def _last_block_at(self, lines: str) -> int:
        """Where the last block of these whole lines begins: what is before it can no longer change."""
        starts = [token.map[0] for token in _parser_of(lines).parse(lines) if token.level == 0 and token.map]
        if not starts or not starts[-1]:
            return 0
        return sum(len(line) + 1 for line in lines.split("\n")[: starts[-1]])

    def _settle_part(self) -> str:
        """Cuts a block that is too long to be rendered again and again, where that is seen least."""
        fence = _FENCE.match(self._tail)
        head, _, rest = self._tail.partition("\n")
        if fence and len(head) <= MAX_HELD_CHARS:
            cut = rest.rfind("\n", 0, MAX_TAIL_CHARS) + 1 or min(len(rest), MAX_TAIL_CHARS)
            self._tail = f"{head}\n{rest[cut:]}"
            info = head.strip().lstrip("`~").split(maxsplit=1)
            return render_code(rest[:cut], info[0] if info else "", is_part=True)
        cut = _cut_at(self._tail)
        part, rest = self._tail[:cut], self._tail[cut:]
        first, second, *_ = [*self._tail.split("\n", 2), ""]
        table_head = f"{first}\n{second}\n"
        is_worth_it = 2 * len(table_head) < cut or part.count("\n") >= _most_lines(part)
        is_table = _has_table(table_head) and is_worth_it and len(table_head) < cut
        self._tail = table_head + rest if is_table else rest
        return _render(part)


def _render(text: str) -> str:
    return str(_parser_of(text).render(text)) if text.strip() else ""


def _most_lines(text: str) -> int:
    """Lines that a block may have: fewer where each may be a row of many cells. Between 4 and `MAX_TAIL_LINES`."""
    num_columns = max(line.count("|") for line in text.split("\n"))
    return min(MAX_TAIL_LINES, max(4, MAX_CELLS // max(1, num_columns)))


def _parser_of(text: str) -> MarkdownIt:
    """The parser for a piece: a table with very many columns costs that for each short row, so it is a table only
    in the whole answer."""
    is_wide = any(line.count("|") > MAX_COLUMNS for line in text.splitlines())
    return parser(has_tables=not is_wide)


def _cut_at(block: str) -> int:
    """A good place to cut an over-long block, at most `MAX_TAIL_CHARS` from its begin and not at it."""
    limit = MAX_TAIL_CHARS
    ends = [match.end() for match in re.finditer("\n", block[:limit])][: _most_lines(block)]
    is_list = bool(_ITEM.match(block))
    for end in reversed(ends):
        if not is_list or _ITEM.match(block, end):
            return end
    return block.rfind(" ", 1, limit) + 1 or limit


def closed(block: str) -> str:
    """The block that is being written, so that nothing half-written shows as marks."""
    head, newline, line = block.rpartition("\n")
    fence = _FENCE.match(block)
    if fence and newline:
        end = _end_of_fence(block, fence[1])
        if end is not None:
            return block[:end] + closed(block[end:])
        # Its last line may be the half of its end; everything else is code as it is.
        return head + newline if re.fullmatch(r"\s*[`~]{1,2}", line) else block
    if len(line) <= MAX_HELD_CHARS and (_HALF_MARK.fullmatch(line) or _may_begin_table(head + newline, line)):
        kept = head + newline
        return _close_marks(_without_table_head(kept))
    return _close_marks(block)


def _end_of_fence(block: str, mark: str) -> int | None:
    """Where the code that the block begins with has ended, blank lines after it included; None while it goes on."""
    ends = re.compile(rf"\n {{0,3}}{re.escape(mark)}{re.escape(mark[0])}*[ \t]*\n\n*").search(block)
    return ends.end() if ends else None


def _may_begin_table(head: str, line: str) -> bool:
    """Whether a line may be a table's first or second, before the second says so."""
    if _has_table(head.rpartition("\n\n")[2]):
        return False
    return line.lstrip().startswith("|")


def _has_table(text: str) -> bool:
    return (
        bool(
            re.search(r"^ {0,3}\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$", text, re.MULTILINE)
        )
        and "|" in text
    )


def _without_table_head(text: str) -> str:
    """The text without a last line that looks like the first row of a table."""
    if _has_table(text.rstrip("\n").rpartition("\n\n")[2]):
        return text
    start = text.rfind("\n", 0, -1) + 1
    is_row = text[start:].lstrip().startswith("|") and len(text) - start <= MAX_HELD_CHARS
    return text[:start] if is_row else text


def _close_marks(block: str) -> str:
    """The block with the marks of its last line (code, strong, emphasis) closed."""
    head, newline, line = block.rpartition("\n")
    line = line.rstrip()
    ticks: list[str] = re.findall(r"`+", line)
    if len(ticks) % 2:
        if line.endswith(ticks[-1]):
            return head + newline + line[: -len(ticks[-1])]
        return f"{head}{newline}{line}{ticks[-1]}"
    outside_code = re.sub(r"(`+).*?\1", "", line)
    if _STRONG.search(outside_code) and outside_code.count("**") % 2:
        bare = line.rstrip("*")
        line = bare if line.endswith("**") else f"{bare}**"
    elif _EMPHASIS.search(outside_code) and outside_code.replace("**", "").count("*") % 2:
        line = line[:-1] if line.endswith("*") else f"{line}*"
    return head + newline + line
