"""Errors as pages, for people who opened an address in a browser.

Programs keep the shapes of their dialect (`api.failures`). For a person who follows a link, "there is nothing here" as
JSON is no answer: they get a page with the same message, what to do, and the way back. `add_error_pages` puts this
before the handlers that the application has already.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from homefire.api.failures import Redact, understood
from homefire.web.render import Page, Renderer

TITLES = {
    400: "This did not work",
    403: "This is not allowed",
    404: "There is nothing here",
    405: "This address is not a page",
    429: "Too much at once",
}
API_PREFIXES = ("/v1/", "/api/")
Answer = Callable[[Request, Exception], Awaitable[Response]]


def wants_page(request: Request) -> bool:
    """Whether a person's browser asks for an address of its own: not a script's request, not an API address."""
    headers = request.headers
    return (
        "text/html" in headers.get("accept", "")
        and "hx-request" not in headers
        and not request.url.path.startswith(API_PREFIXES)
    )


def add_error_pages(app: FastAPI, renderer: Renderer, *, redact: Redact) -> None:
    """Let every error handler of the application answer browsers with a page; programs see no difference."""
    for kind, handler in list(app.exception_handlers.items()):
        app.add_exception_handler(kind, _page_or(handler, renderer, redact))


def _page_or(handler: Any, renderer: Renderer, redact: Redact) -> Answer:
    async def answer(request: Request, error: Exception) -> Response:
        if not wants_page(request):
            response: Response = await handler(request, error)
            return response
        return error_page(request, error, renderer=renderer, redact=redact)

    return answer


def error_page(request: Request, error: Exception, *, renderer: Renderer, redact: Redact) -> Page:
    """The page for an error, with the status a program would see."""
    status, message, hint, headers = 500, "", None, None
    if isinstance(error, HTTPException):
        status, headers = error.status_code, error.headers
        message = f"This server has no page at {request.url.path}."
        if status == 405:
            message = f"{request.url.path} is used by the pages; it cannot be opened by itself."
    elif isinstance(error, RequestValidationError):
        first = error.errors()[0]
        status, message = 400, f"The field {first['loc'][-1]!s} does not fit: {first['msg']}."
    else:
        known = understood(error)
        status, message, hint = known.http_status, known.message, known.hint
    return Page(
        renderer.page(
            "error.html",
            page="",
            live_model=None,
            signed_in=False,
            title=TITLES.get(status, "Something went wrong" if status >= 500 else "This did not work"),
            message=redact(message),
            hint=redact(hint) if hint else None,
        ),
        status_code=status,
        headers=dict(headers) if headers else None,
    )
