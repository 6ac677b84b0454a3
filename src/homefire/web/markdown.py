"""Answers as HTML: Markdown without links, pictures or raw HTML, with highlighted code, for a strict CSP.

Answers come from a model and are not trusted. Raw HTML is shown as text, images are not loaded and links are not
made (a picture on another host would carry what it names out of the house). Nothing gets a style attribute, which
the content security policy forbids: columns are aligned and code is coloured by classes.

Costs about 1.5 ms for a KB of text and 2.5 ms for a KB of code; the libraries are loaded with the first answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

LANGUAGES = {
    "bash": "bash", "sh": "bash", "shell": "bash", "zsh": "bash", "console": "console",
    "c": "c", "h": "c", "cpp": "cpp", "c++": "cpp", "cs": "csharp", "csharp": "csharp", "css": "css", "diff": "diff",
    "dockerfile": "docker", "docker": "docker", "go": "go", "html": "html", "xml": "xml", "ini": "ini", "java": "java",
    "javascript": "javascript", "js": "javascript", "jsx": "javascript", "json": "json", "kotlin": "kotlin",
    "kt": "kotlin", "lua": "lua", "makefile": "make", "make": "make", "nix": "nix", "perl": "perl", "php": "php",
    "powershell": "powershell", "ps1": "powershell", "python": "python", "py": "python", "pycon": "pycon", "r": "r",
    "ruby": "ruby", "rb": "ruby", "rust": "rust", "rs": "rust", "scala": "scala", "sql": "sql", "swift": "swift",
    "toml": "toml", "typescript": "typescript", "ts": "typescript", "tsx": "typescript", "yaml": "yaml", "yml": "yaml",
}  # fmt: skip
"""What a fence may be marked with → Pygments' name. Others are shown without colours: looking a name up
among everything that is installed would run code that was never looked at."""
MAX_HIGHLIGHTED_CHARS = 20_000
"""Longer code is shown without colours."""
ALIGNMENTS = {"text-align:left": "left", "text-align:center": "center", "text-align:right": "right"}


def render_markdown(text: str) -> str:
    """The whole text as HTML."""
    return str(parser().render(text))


@cache
def parser(*, has_tables: bool = True) -> MarkdownIt:
    """The one parser of answers, and one that knows no tables."""
    from markdown_it import MarkdownIt

    made = MarkdownIt("commonmark", {"html": False, "breaks": True})
    if has_tables:
        made.enable("table")
    made.disable(["link", "image", "autolink", "reference", "html_inline", "html_block"])
    made.core.ruler.push("classes", _use_classes)
    made.add_render_rule("fence", _render_fence)
    made.add_render_rule("code_block", _render_fence)
    made.add_render_rule("table_open", _open_table)
    made.add_render_rule("table_close", _close_table)
    return made


def render_code(code: str, language: str, *, is_part: bool = False) -> str:
    """A block of code with its language and a button that copies it; `is_part` when more of it follows."""
    shown = escape(language)
    bar = f'<div class="code-bar"><span>{shown or "text"}</span>{COPY_BUTTON}</div>'
    body = f'<pre tabindex="0"><code>{highlight(code, language)}</code></pre>'
    return f'<div class="code{" part" if is_part else ""}">{bar}{body}</div>\n'


COPY_BUTTON = '<button type="button" class="copy" data-copy>Copy</button>'


def highlight(code: str, language: str) -> str:
    """The code as HTML, its words in spans with the classes of `static/code.css`."""
    name = LANGUAGES.get(language.lower())
    if name is None or len(code) > MAX_HIGHLIGHTED_CHARS:
        return escape(code)
    parts: list[str] = []
    open_class, text = "", ""
    for kind, value in _lexer(name).get_tokens(code):
        of_kind = _class_of(kind)
        if of_kind != open_class:
            parts.append(_span(open_class, text))
            open_class, text = of_kind, ""
        text += value
    parts.append(_span(open_class, text))
    return "".join(parts)


def _span(of_kind: str, text: str) -> str:
    return f'<span class="{of_kind}">{escape(text)}</span>' if of_kind and text else escape(text)


@cache
def _lexer(name: str) -> Any:
    from pygments.lexers import get_lexer_by_name

    return get_lexer_by_name(name, stripnl=False, ensurenl=False)


@cache
def _class_of(kind: Any) -> str:
    """Few classes, so that few colours must be told apart: `c` comment, `k` keyword, `s` string, …"""
    from pygments.token import Token as Kind

    classes = (
        (Kind.Comment.Preproc, "k"), (Kind.Comment, "c"), (Kind.Keyword, "k"), (Kind.Operator.Word, "k"),
        (Kind.Name.Tag, "k"), (Kind.Literal.String, "s"), (Kind.Literal.Number, "n"), (Kind.Name.Function, "f"),
        (Kind.Name.Class, "f"), (Kind.Name.Decorator, "f"), (Kind.Name.Attribute, "f"), (Kind.Name.Builtin, "b"),
        (Kind.Name.Constant, "n"), (Kind.Generic.Deleted, "d"), (Kind.Generic.Inserted, "i"),
        (Kind.Generic.Heading, "k"), (Kind.Generic.Prompt, "c"),
    )  # fmt: skip
    return next((name for parent, name in classes if kind in parent), "")


def _use_classes(state: Any) -> None:
    """Alignment as a class instead of a style, which the pages' policy does not allow."""
    for token in state.tokens:
        style = token.attrs.pop("style", None)
        if style in ALIGNMENTS:
            token.attrs["class"] = ALIGNMENTS[style]


def _render_fence(_renderer: Any, tokens: Sequence[Token], index: int, *_: Any) -> str:
    token = tokens[index]
    language = token.info.strip().split(maxsplit=1)[0] if token.info.strip() else ""
    return render_code(token.content, language)


def _open_table(*_: Any) -> str:
    return '<div class="table" tabindex="0"><table>\n'


def _close_table(*_: Any) -> str:
    return "</table></div>\n"
