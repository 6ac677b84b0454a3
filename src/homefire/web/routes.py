"""All pages together, with the headers that keep a page from reaching anywhere but here."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter
from starlette.staticfiles import StaticFiles

from homefire.api.context import Context
from homefire.api.server import HomefireApp
from homefire.web.chat_pages import create_chat_router
from homefire.web.login import create_login_router
from homefire.web.render import Renderer
from homefire.web.run_pages import create_run_router
from homefire.web.version_pages import create_version_router
from homefire.web.views import Views

STATIC = Path(__file__).parent / "static"


def add_pages(app: HomefireApp) -> None:
    """Put the pages and their files on the application."""
    context: Context = app.state.context
    renderer = Renderer()
    views = Views(context.homefire)
    router = APIRouter()
    router.include_router(create_chat_router(context, views, renderer))
    router.include_router(create_run_router(context, views, renderer))
    router.include_router(create_version_router(context, views, renderer))
    router.include_router(create_login_router(context, renderer))
    app.include_router(router)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
