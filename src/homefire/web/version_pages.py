"""The page of versions: promote, roll back, verify."""

from __future__ import annotations

from html import escape

from fastapi import APIRouter

from homefire.api.context import Context
from homefire.errors import HomefireError
from homefire.web.render import Page, Renderer
from homefire.web.views import Views

WHO = "web"


def create_version_router(context: Context, views: Views, renderer: Renderer) -> APIRouter:
    """Routes of the version page."""
    homefire = context.homefire
    router = APIRouter(include_in_schema=False, default_response_class=Page)

    def table(template: str, problem: HomefireError | None = None) -> str:
        return renderer.page(
            template,
            page="Versions",
            live_model=views.live_model(),
            versions=views.versions(),
            can_roll_back=views.can_roll_back(),
            problem=problem,
            is_fragment=template.startswith("_"),
        )

    @router.get("/versions")
    async def versions() -> str:
        """All versions."""
        return table("versions.html")

    @router.post("/web/versions/rollback")
    async def rollback() -> str:
        """Point `live` to what it pointed to before."""
        try:
            await homefire.promotion.rollback(who=WHO, why="rolled back on the page")
        except HomefireError as error:
            return table("_versions.html", error)
        return table("_versions.html")

    @router.post("/web/versions/{name}/promote")
    async def promote(name: str) -> str:
        """Point `live` to a version."""
        try:
            await homefire.promotion.promote(name, who=WHO, why="promoted on the page")
        except HomefireError as error:
            return table("_versions.html", error)
        return table("_versions.html")

    @router.post("/web/versions/{name}/verify")
    async def verify(name: str) -> str:
        """Hash every byte of a version."""
        report = await homefire.library.verify(name)
        if report.ok:
            whole = f"all {report.num_files} files and {report.num_blobs} blobs hold what was written."
            return f"<p>{escape(name)}: {whole}</p>"
        return "".join(f'<p role="alert">{escape(str(problem))}</p>' for problem in report.problems)

    return router
