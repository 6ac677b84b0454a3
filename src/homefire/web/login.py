"""Signing in with an API key, for pages on a server that asks for one.

The key goes into a cookie that scripts cannot read and other sites cannot send; the guard in front of every
route recognises it like a key in a header.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import Response

from homefire.api.context import Context
from homefire.api.policy import KEY_COOKIE
from homefire.errors import AuthenticationRequired
from homefire.web.render import Page, Renderer

COOKIE_AGE_S = 30 * 86_400


def create_login_router(context: Context, renderer: Renderer) -> APIRouter:
    """Routes of the sign-in page."""
    router = APIRouter(include_in_schema=False)

    @router.get("/login", response_class=Page)
    async def login() -> str:
        """Ask for a key."""
        return renderer.page("login.html", page="Sign in", live_model=None, wrong=False)

    @router.post("/login", response_class=Page)
    async def sign_in(request: Request, key: Annotated[str, Form()]) -> Response:
        """Check the key and remember it in a cookie, which https pages send over https only."""
        try:
            context.keys.recognise(key.strip())
        except AuthenticationRequired:
            return Page(renderer.page("_sign_in.html", wrong=True))
        response = Response(status_code=204, headers={"HX-Redirect": "/"})
        # Behind a proxy that speaks https only the browser knows; its Origin was checked by the guard.
        secure = request.headers.get("origin", "").startswith("https://")
        response.set_cookie(
            KEY_COOKIE, key.strip(), httponly=True, samesite="strict", secure=secure, max_age=COOKIE_AGE_S
        )
        return response

    return router
