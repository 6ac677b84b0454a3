"""The page of versions: promote, roll back, verify."""

from __future__ import annotations

from html import escape

from fastapi import APIRouter, Request

from homefire.api.auth import principal_of
from homefire.api.context import Context
from homefire.errors import HomefireError
from homefire.web.formats import counted
from homefire.web.login import is_signed_in
from homefire.web.render import Page, Renderer
from homefire.web.views import Views

WHO = "web"


def create_version_router(context: Context, views: Views, renderer: Renderer) -> APIRouter:
    """Routes of the version page."""
    homefire = context.homefire
    router = APIRouter(include_in_schema=False, default_response_class=Page)

    def listed(
        request: Request, template: str, problem: HomefireError | None = None, *, signed_in: bool = False
    ) -> str:
        return renderer.page(
            template,
            page="Versions",
            signed_in=signed_in,
            live_model=views.live_model(),
            versions=views.versions(principal_of(request)),
            can_roll_back=views.can_roll_back(),
            problem=problem,
            is_fragment=template.startswith("_"),
        )

    @router.get("/versions")
    def versions(request: Request) -> str:
        """All versions; in a thread, as each costs a few reads."""
        return listed(request, "versions.html", signed_in=is_signed_in(request))

    @router.post("/web/versions/rollback")
    async def rollback(request: Request) -> str:
        """Point `live` to what it pointed to before."""
        try:
            await homefire.promotion.rollback(who=WHO, why="rolled back on the page")
        except HomefireError as error:
            return listed(request, "_versions.html", error)
        return listed(request, "_versions.html")

    @router.post("/web/versions/{name}/promote")
    async def promote(request: Request, name: str) -> str:
        """Point `live` to a version."""
        try:
            await homefire.promotion.promote(name, who=WHO, why="promoted on the page")
        except HomefireError as error:
            return listed(request, "_versions.html", error)
        return listed(request, "_versions.html")

    @router.post("/web/versions/{name}/verify")
    async def verify(name: str) -> str:
        """Hash every byte of a version."""
        report = await homefire.library.verify(name)
        if report.ok:
            parts = f"{counted(report.num_files, 'file')} and {counted(report.num_blobs, 'blob')}"
            return f"<p>{escape(name)} is whole: {parts} hold what was written.</p>"
        return "".join(f'<p role="alert">{escape(str(problem))}</p>' for problem in report.problems)

    return router
