"""Signing in with an API key and out again, for pages on a server that asks for a key.

The key goes into a cookie that scripts cannot read and other sites cannot send; the guard in front of every
route recognises it like a key in a header. Who wanted a page and had to sign in first gets that page afterwards:
`next` is followed only within this server. Works without scripts.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from homefire.api.context import Context
from homefire.api.policy import KEY_COOKIE
from homefire.errors import AuthenticationRequired
from homefire.web.render import Page, Renderer

COOKIE_AGE_S = 30 * 86_400
HOME_PAGE = "/"
SIGN_IN_PAGE = "/login"
MAX_NEXT_CHARS = 2_000


def create_login_router(context: Context, renderer: Renderer) -> APIRouter:
    """Routes of the sign-in page."""
    router = APIRouter(include_in_schema=False)

    def form(template: str, next_page: str, *, wrong: bool) -> str:
        return renderer.page(
            template, page="Sign in", live_model=None, signed_in=False, wrong=wrong, next_page=next_page
        )

    @router.get(SIGN_IN_PAGE, response_class=Page)
    async def login(next: str = HOME_PAGE) -> str:
        """Ask for a key."""
        return form("login.html", safe_next(next), wrong=False)

    @router.post(SIGN_IN_PAGE, response_class=Page)
    async def sign_in(
        request: Request, key: Annotated[str, Form()], next: Annotated[str, Form()] = HOME_PAGE
    ) -> Response:
        """Check the key and remember it in a cookie."""
        next_page = safe_next(next)
        try:
            context.keys.authenticate(key.strip())
        except AuthenticationRequired:
            template = "_sign_in.html" if "hx-request" in request.headers else "login.html"
            return Page(form(template, next_page, wrong=True))
        response = _go_to(next_page, request)
        # Behind a proxy that speaks https only the browser knows; its Origin was checked by the guard.
        secure = request.headers.get("origin", "").startswith("https://")
        response.set_cookie(
            KEY_COOKIE, key.strip(), httponly=True, samesite="strict", secure=secure, max_age=COOKIE_AGE_S
        )
        return response

    @router.post("/logout")
    async def sign_out(request: Request) -> Response:
        """Forget the key in this browser; the key itself stays valid."""
        response = _go_to(SIGN_IN_PAGE, request)
        response.delete_cookie(KEY_COOKIE, httponly=True, samesite="strict")
        return response

    return router


def is_signed_in(request: Request) -> bool:
    """Whether this browser holds a key, so that signing out means something."""
    return KEY_COOKIE in request.cookies


def safe_next(wanted: str) -> str:
    """A path of this server to go to, or its first page where `wanted` might lead anywhere else.

    Browsers read `//host`, `/\\host` and paths with a tab or a line break in them as another host.
    """
    is_path = wanted.startswith("/") and not wanted.startswith("//") and "\\" not in wanted
    is_clean = wanted.isprintable() and wanted.isascii() and len(wanted) <= MAX_NEXT_CHARS
    is_page = not wanted.startswith((SIGN_IN_PAGE, "/logout", "/web/", "/static/"))
    return wanted if is_path and is_clean and is_page else HOME_PAGE


def _go_to(page: str, request: Request) -> Response:
    if "hx-request" in request.headers:
        return Response(status_code=204, headers={"HX-Redirect": page})
    return RedirectResponse(page, status_code=303)
