"""Errors as pages, for people who opened an address in a browser.

Programs keep the shapes of their dialect (`api.failures`). For a person who follows a link, "there is nothing here" as
JSON is of no use: they get a page with the same message, what to do, and the way back. The guard decides who gets one.
"""

from __future__ import annotations

from homefire.api.failures import Redact, error_headers
from homefire.errors import HomefireError
from homefire.web.render import Page, Renderer

TITLES = {
    400: "This did not work",
    403: "This is not allowed",
    404: "There is nothing here",
    405: "This address is not a page",
    429: "Too much at once",
}


def error_page(error: HomefireError, *, renderer: Renderer, redact: Redact) -> Page:
    """The page for an error, with the status a program would see."""
    status = error.http_status
    return Page(
        renderer.page(
            "error.html",
            page="",
            live_model=None,
            signed_in=False,
            title=TITLES.get(status, "Something went wrong" if status >= 500 else "This did not work"),
            message=redact(error.message),
            # An address that is nothing has hints for programs.
            hint=redact(error.hint) if error.hint and status not in (404, 405) else None,
        ),
        status_code=status,
        headers={
            name.decode(): value.decode() for name, value in error_headers(error) if name != b"content-type"
        },
    )
