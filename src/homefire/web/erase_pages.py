"""Erasing a conversation on the page: what would go and what would stay, then doing it. Works without scripts."""

from __future__ import annotations

from fastapi import APIRouter, Request

from homefire.api.auth import principal_of
from homefire.api.context import Context
from homefire.web.login import is_signed_in
from homefire.web.render import Page, Renderer
from homefire.web.views import Views

WHY = "erased on the page"


def create_erase_router(context: Context, views: Views, renderer: Renderer) -> APIRouter:
    """Routes of the page that asks first, and of what it asks about."""
    training = context.homefire.training
    router = APIRouter(include_in_schema=False, default_response_class=Page)

    async def page(request: Request, session_id: str, *, dry_run: bool) -> str:
        principal = principal_of(request)
        session = views.session(principal, session_id)
        report = await training.erase(session_id, principal=principal.id, why=WHY, dry_run=dry_run)
        return renderer.page(
            "erase.html",
            page="Erase",
            signed_in=is_signed_in(request),
            live_model=views.live_model(),
            session=session,
            report=report,
        )

    @router.get("/chat/{session_id}/erase")
    async def ask(request: Request, session_id: str) -> str:
        """What would go, and what would still hold it."""
        return await page(request, session_id, dry_run=True)

    @router.post("/chat/{session_id}/erase")
    async def erase(request: Request, session_id: str) -> str:
        """Erase it for good; what still holds it."""
        return await page(request, session_id, dry_run=False)

    return router
