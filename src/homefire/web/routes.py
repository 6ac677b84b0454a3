"""All pages together, with the headers that keep a page from reaching any other server."""

from __future__ import annotations

from functools import partial

from homefire.api.context import Context
from homefire.api.server import HomefireApp
from homefire.web.assets import PREFIX, Assets
from homefire.web.chat_pages import create_chat_router
from homefire.web.correction_pages import create_correction_router
from homefire.web.erase_pages import create_erase_router
from homefire.web.error_pages import error_page
from homefire.web.login import create_login_router
from homefire.web.render import Renderer
from homefire.web.run_pages import create_run_router
from homefire.web.version_pages import create_version_router
from homefire.web.views import Views


def add_pages(app: HomefireApp) -> None:
    """Put the pages and their files on the application, and have its guard answer browsers with pages."""
    context: Context = app.state.context
    assets = Assets()
    renderer = Renderer(assets)
    views = Views(context.homefire)
    app.add_router(create_chat_router(context, views, renderer))
    app.add_router(create_correction_router(context, views, renderer))
    app.add_router(create_erase_router(context, views, renderer))
    app.add_router(create_run_router(context, views, renderer))
    app.add_router(create_version_router(context, views, renderer))
    app.add_router(create_login_router(context, renderer))
    app.mount(PREFIX.rstrip("/"), assets, name="static")
    app.error_page = partial(error_page, renderer=renderer, redact=context.homefire.redactor.redact)
