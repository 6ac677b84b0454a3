"""Signing in with an API key, for pages on a server that asks for one.

The key goes into a cookie that scripts cannot read and other sites cannot send; the guard in front of every
route recognises it like a key in a header.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from homefire.api.policy import KEY_COOKIE
from homefire.app import Homefire
from homefire.errors import AuthenticationRequired
from homefire.web.render import Renderer


def create_login_router(homefire: Homefire, renderer: Renderer) -> APIRouter:
    """Routes of the sign-in page."""
    router = APIRouter(include_in_schema=False)

    def form(*, wrong: bool) -> str:
        return renderer.page("login.html", page="Sign in", live_model=None, wrong=wrong)

    @router.get("/login", response_class=HTMLResponse)
    async def login() -> str:
        """Ask for a key."""
        return form(wrong=False)

    @router.post("/login")
    async def sign_in(key: Annotated[str, Form()]) -> Response:
        """Check the key and remember it in a cookie."""
        try:
            homefire.keys.recognise(key.strip())
        except AuthenticationRequired:
            return HTMLResponse(form(wrong=True), status_code=401)
        response = RedirectResponse("/", status_code=303)
        response.set_cookie(KEY_COOKIE, key.strip(), httponly=True, samesite="strict", max_age=30 * 86400)
        return response

    return router
