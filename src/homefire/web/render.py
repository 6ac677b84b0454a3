"""Templates to HTML: one Jinja environment, everything escaped, answers as Markdown without links elsewhere.

Answers come from a model and are not trusted: raw HTML is shown as text, images are not loaded and links
are not made (a picture on another host would carry what it names out of the house).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.responses import HTMLResponse

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"
HEADERS = {
    "content-security-policy": "default-src 'self'; base-uri 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
}
"""Whatever an answer may contain, a page reaches nothing but this server."""


class Page(HTMLResponse):
    """A page or a fragment of one, with the headers that keep it at home."""

    def init_headers(self, headers: Mapping[str, str] | None = None) -> None:
        """Adds `HEADERS`."""
        super().init_headers({**HEADERS, **(headers or {})})


class Renderer:
    """Renders pages and fragments. Its libraries are loaded with the first page: a server that only speaks to
    programs stays small."""

    def page(self, template: str, **values: Any) -> str:
        """The text of a template."""
        return self._environment.get_template(template).render(**values)

    @cached_property
    def _environment(self) -> Environment:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined

        environment = Environment(
            loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
        )
        environment.filters["markdown"] = self._markdown
        environment.filters["moment"] = moment
        return environment

    @cached_property
    def _markdown(self) -> Callable[[str], str]:
        from markdown_it import MarkdownIt
        from markupsafe import Markup

        parser = MarkdownIt("commonmark", {"html": False, "breaks": True}).enable("table")
        parser.disable(["link", "image", "autolink", "reference", "html_inline", "html_block"])
        return lambda text: Markup(parser.render(text))


def moment(at_s: float) -> str:
    """A point in time as the machine's people read it."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at_s))
