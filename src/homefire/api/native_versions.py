"""Versions over HTTP: list, compare, verify, promote, roll back, give up."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query
from starlette.requests import Request

from homefire.api.auth import principal_of
from homefire.api.context import Context
from homefire.api.documents import JsonDocument, create_router, read_document
from homefire.api.native_types import (
    Moved,
    PromoteBody,
    ReasonBody,
    Removed,
    Report,
    RollbackBody,
    Versions,
    VersionView,
)
from homefire.chat.request import Principal
from homefire.errors import CorruptData
from homefire.store.nouns.aliases import AliasRow
from homefire.store.nouns.versions import VersionRow
from homefire.training.visibility import visible_version
from homefire.versions.comparison import Comparison, compare
from homefire.versions.report import GateReport, gate_report

VersionName = Annotated[str, Path(max_length=100)]
ComparedName = Annotated[str, Query(max_length=100)]


def create_version_router(context: Context) -> APIRouter:
    """Routes of versions."""
    router = create_router("versions")
    homefire, describe = context.homefire, context.described.route

    @router.get("/v1/versions", **describe(answer=Versions))
    async def list_versions(request: Request) -> JsonDocument:
        """All versions, oldest first; which is live, and what a rollback would go to."""
        live = live_model(context)
        who = principal_of(request)
        views = [version_view(context, row, live=live, principal=who) for row in homefire.library.all()]
        return JsonDocument(Versions(views, live, homefire.promotion.previous()))

    @router.get("/v1/versions/compare", **describe(answer=Comparison))
    async def compare_versions(a: ComparedName, b: ComparedName) -> JsonDocument:
        """What changed from `a` to `b`: layers, metrics, gate scores, skills, examples."""
        return JsonDocument(await compare(homefire.library, homefire.store, a=a, b=b))

    @router.post("/v1/versions/rollback", **describe(body=RollbackBody, answer=Moved))
    async def roll_back(request: Request) -> JsonDocument:
        """Make `live` what it was before, or `to`."""
        wanted = await read_document(request, RollbackBody)
        row = await homefire.promotion.rollback(
            to=wanted.to, who=principal_of(request).id, why=wanted.why or "rollback asked for"
        )
        return JsonDocument(moved(row))

    @router.get("/v1/versions/{version}", **describe(answer=VersionView))
    async def show_version(request: Request, version: VersionName) -> JsonDocument:
        """One version, with the gate's verdict and scores."""
        row = homefire.library.get(version)
        return JsonDocument(
            version_view(context, row, live=live_model(context), principal=principal_of(request))
        )

    @router.post("/v1/versions/{version}/promote", **describe(body=PromoteBody, answer=Moved))
    async def promote(request: Request, version: VersionName) -> JsonDocument:
        """Make a version live. Conflict where its gate did not pass, unless overridden with a reason."""
        wanted = await read_document(request, PromoteBody)
        why = wanted.why or ("" if wanted.override else "promotion asked for")
        row = await homefire.promotion.promote(
            version, who=principal_of(request).id, why=why, override=wanted.override
        )
        return JsonDocument(moved(row))

    @router.post("/v1/versions/{version}/verify", **describe(answer=Report))
    async def verify(version: VersionName, repair: bool = False) -> JsonDocument:
        """Read every byte again and compare its hash; with `repair`, make whole what an undamaged copy is of."""
        work = homefire.library.repair if repair else homefire.library.verify
        report = await work(version)
        problems = [str(problem) for problem in report.problems]
        return JsonDocument(Report(report.ok, problems, report.num_files, report.size_bytes))

    @router.delete("/v1/versions/{version}", **describe(body=ReasonBody, answer=Removed))
    async def delete(request: Request, version: VersionName) -> JsonDocument:
        """Give a version up. Conflict while it is live or a run starts from it."""
        wanted = await read_document(request, ReasonBody)
        model = homefire.catalog.resolve(version).model
        await homefire.library.delete(
            version, who=principal_of(request).id, why=wanted.why or "deletion asked for"
        )
        homefire.serving.evict(model)
        return JsonDocument(Removed(version))

    return router


def live_model(context: Context) -> str:
    """The model that `live` means now."""
    name: str = context.homefire.catalog.resolve("live").model.name
    return name


def moved(row: AliasRow) -> Moved:
    """A move of `live`."""
    return Moved(row.target, row.previous)


def report_on(row: VersionRow, *, live: str) -> GateReport:
    """The gate's verdict on a version for people."""
    return gate_report(
        row.version, passed=row.gate_passed, reasons=row.gate_reasons, scores=row.gate_scores, live=live
    )


def version_view(context: Context, row: VersionRow, *, live: str, principal: Principal) -> VersionView:
    """A row as this principal may see it, with its folder; none where its manifest is damaged (`verify` says how)."""
    row = visible_version(context.homefire.store, row, principal.id)
    try:
        folder = str(context.homefire.library.folder(row.version))
    except CorruptData:
        folder = None
    return VersionView(
        **{name: getattr(row, name) for name in row.__struct_fields__},
        live=row.version == live,
        folder=folder,
        gate_report=report_on(row, live=live),
    )
