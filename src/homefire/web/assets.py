"""The style, script and icon files of the pages, under names that contain their content's hash.

A file is named `app.<hash>.js` in the pages, so a browser may keep it forever and an update is seen at once. Some are
joined from several sources (`BUNDLES`), so that a page needs few requests. Each is compressed once, when it is
first asked for, and stays in memory: about 60 KB when every page was opened, nothing before.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from homefire.errors import MethodNotAllowed, NotFound, quoted

STATIC = Path(__file__).parent / "static"
PREFIX = "/static/"
BUNDLES: Mapping[str, Sequence[str]] = {
    "app.css": ("app.css", "code.css"),
    "app.js": ("vendor/htmx.min.js", "vendor/htmx-ext-sse.min.js", "page.js", "app.js"),
    "chart.css": ("vendor/uPlot.min.css",),
    "chart.js": ("vendor/uPlot.iife.min.js", "chart.js"),
    "icon.svg": ("icon.svg",),
}
MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
HEADERS = {
    "cache-control": "public, max-age=31536000, immutable",
    "vary": "accept-encoding",
    "x-content-type-options": "nosniff",
}
NUM_HASH_CHARS = 12


@dataclass(frozen=True)
class Asset:
    """One file as it is served."""

    hashed_name: str
    media_type: str
    content: bytes

    @cached_property
    def compressed(self) -> bytes:
        """The content as gzip, the same bytes each time."""
        return gzip.compress(self.content, 9, mtime=0)


class Assets:
    """The files by the name that templates use and by the name that browsers ask for: an ASGI application."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request below `PREFIX`."""
        request = Request(scope)
        response = self.respond(request.url.path.removeprefix(PREFIX), request)
        await response(scope, receive, send)

    def path(self, name: str) -> str:
        """The address of a file of `BUNDLES`."""
        return PREFIX + self._by_name[name].hashed_name

    def respond(self, hashed_name: str, request: Request) -> Response:
        """The file, compressed where the client understands that. Raises NotFound, MethodNotAllowed."""
        if request.method not in ("GET", "HEAD"):
            raise MethodNotAllowed(f"{request.method} is not possible here.", allowed=["GET", "HEAD"])
        asset = self._by_hashed_name.get(hashed_name)
        if asset is None:
            raise NotFound(
                f"There is no file {quoted(hashed_name)}.", hint="Reload the page: the server was updated."
            )
        if accepts_gzip(request.headers.get("accept-encoding", "")):
            return Response(
                asset.compressed, media_type=asset.media_type, headers={**HEADERS, "content-encoding": "gzip"}
            )
        return Response(asset.content, media_type=asset.media_type, headers=HEADERS)

    @cached_property
    def _by_name(self) -> dict[str, Asset]:
        return {name: _load(name, sources) for name, sources in BUNDLES.items()}

    @cached_property
    def _by_hashed_name(self) -> dict[str, Asset]:
        return {asset.hashed_name: asset for asset in self._by_name.values()}


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether an Accept-Encoding header allows gzip (RFC 9110, 12.5.3)."""
    for entry in accept_encoding.lower().split(","):
        coding, _, quality = (part.strip() for part in entry.partition(";"))
        if coding in ("gzip", "*"):
            return quality.replace(" ", "").removeprefix("q=") not in ("0", "0.0", "0.00", "0.000")
    return False


def _load(name: str, sources: Sequence[str]) -> Asset:
    # A script that lacks its last semicolon would otherwise run into the next one.
    separator = b"\n;\n" if name.endswith(".js") else b"\n"
    content = separator.join((STATIC / source).read_bytes() for source in sources)
    stem, suffix = name.rsplit(".", 1)
    digest = hashlib.sha256(content).hexdigest()[:NUM_HASH_CHARS]
    return Asset(f"{stem}.{digest}.{suffix}", MEDIA_TYPES[f".{suffix}"], content)
