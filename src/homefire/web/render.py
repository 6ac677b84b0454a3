"""Templates to HTML: one Jinja environment, everything escaped, answers as Markdown (`markdown.py`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.responses import HTMLResponse

from homefire.web.assets import Assets
from homefire.web.formats import counted, exact_moment, moment, short_id
from homefire.web.markdown import render_markdown

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"
HEADERS = {
    "content-security-policy": "default-src 'self'; base-uri 'none'; frame-ancestors 'none'",
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
}
"""Whatever an answer may contain, a page reaches only this server."""
NUM_KEPT_ANSWERS = 256
MAX_RETAINED_CHARS = 10_000


class Page(HTMLResponse):
    """A page or a fragment of one, with the headers that keep it at home."""

    def init_headers(self, headers: Mapping[str, str] | None = None) -> None:
        """Adds `HEADERS`."""
        super().init_headers({**HEADERS, **(headers or {})})


class Renderer:
    """Renders pages and fragments. Its libraries are loaded with the first page: a server that only speaks to
    programs stays small. Answers are kept rendered, as far as they are likely to be shown again."""

    def __init__(self, assets: Assets) -> None:
        self._assets = assets

    def page(self, template: str, **values: Any) -> str:
        """The text of a template."""
        return self._environment.get_template(template).render(**values)

    @cached_property
    def _environment(self) -> Environment:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined

        environment = Environment(
            loader=FileSystemLoader(TEMPLATES),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        environment.globals["asset"] = self._assets.path
        environment.globals["counted"] = counted
        environment.filters.update(
            markdown=self._markdown,
            moment=moment,
            exact_moment=exact_moment,
            short_id=short_id,
            number=number,
        )
        return environment

    @cached_property
    def _markdown(self) -> Callable[[str], str]:
        from markupsafe import Markup

        rendered = lru_cache(maxsize=NUM_KEPT_ANSWERS)(render_markdown)
        return lambda text: Markup(
            rendered(text) if len(text) < MAX_RETAINED_CHARS else render_markdown(text)
        )


def number(value: int) -> str:
    """`1,000`"""
    return f"{value:,}"
