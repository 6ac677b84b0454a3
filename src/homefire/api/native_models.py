"""Models over HTTP, as Homefire sees them: list, add from disk, verify, remove, and the route of a name."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import msgspec
from fastapi import APIRouter, Query
from fastapi import Path as InPath
from starlette.requests import Request

from homefire.api.body import invalid
from homefire.api.context import Context
from homefire.api.documents import JsonDocument, create_router, read_document
from homefire.api.native_types import AddedModel, AddModelBody, Models, ModelView, Removed, Report, RouteView
from homefire.catalog.models import ModelInfo
from homefire.serving.router import RouteRequest
from homefire.training.fitness import Fitness
from homefire.training.memory_plan import describe_need
from homefire.training.preparation import recipe_from_settings

ModelName = Annotated[str, InPath(max_length=200)]


def create_model_router(context: Context) -> APIRouter:
    """Routes of the catalog."""
    router = create_router("models")
    homefire, describe = context.homefire, context.described.route

    @router.get("/v1/homefire/models", **describe(answer=Models))
    async def list_models() -> JsonDocument:
        """Bases, versions and aliases."""
        return JsonDocument(Models([model_view(model) for model in homefire.catalog.list()]))

    @router.get("/v1/homefire/models/{name}", **describe(answer=ModelView))
    async def show_model(name: ModelName) -> JsonDocument:
        """One model, and what teaching it would take on this machine."""
        model = homefire.catalog.resolve(name).model
        view = model_view(model)
        if model.trainable:
            base = model if model.base is None else homefire.catalog.resolve(model.base).model
            settings = homefire.loaded.settings.training
            needs = await asyncio.to_thread(describe_need, base, recipe_from_settings(settings), settings)
            view = msgspec.structs.replace(view, teaching_needs=needs)
        return JsonDocument(view)

    @router.post("/v1/homefire/models", **describe(body=AddModelBody, answer=AddedModel))
    async def add_model(request: Request) -> JsonDocument:
        """Add a GGUF file or a safetensors folder from this machine's disk; says whether it can be taught."""
        wanted = await read_document(request, AddModelBody)
        path = Path(wanted.path)
        if not path.is_absolute() or "\0" in wanted.path:
            raise invalid("path", "it must be an absolute path on the server's machine")
        model = await homefire.catalog.add(path, name=wanted.name, in_place=wanted.in_place)
        fitness = await homefire.training.fitness.look_at(model)
        view = model_view(model)
        fields = {name: getattr(view, name) for name in view.__struct_fields__}
        return JsonDocument(AddedModel(**fields, fitness=fitness))

    @router.post("/v1/homefire/models/{name}/check", **describe(answer=Fitness))
    async def check_model(name: ModelName) -> JsonDocument:
        """Whether a model can be taught here, and whether it answers like one that was trained. Asks it a little."""
        return JsonDocument(await homefire.training.fitness.look_at(homefire.catalog.resolve(name).model))

    @router.post("/v1/homefire/models/{name}/verify", **describe(answer=Report))
    async def verify_model(name: ModelName) -> JsonDocument:
        """Read every byte of a model again and compare its hash."""
        resolved = homefire.catalog.resolve(name).model
        if resolved.kind == "version":
            report = await homefire.library.verify(resolved.name)
            problems = [str(problem) for problem in report.problems]
            return JsonDocument(Report(report.ok, problems, report.num_files, report.size_bytes))
        found = await homefire.catalog.verify(resolved.name)
        return JsonDocument(Report(not found, list(found), len(found), resolved.size_bytes))

    @router.delete("/v1/homefire/models/{name}", **describe(answer=Removed))
    async def remove_model(name: ModelName) -> JsonDocument:
        """Remove a base model. Conflict while an alias, a version or a run needs it."""
        model = homefire.catalog.resolve(name).model
        await homefire.catalog.remove(name)
        homefire.serving.evict(model)
        return JsonDocument(Removed(name))

    @router.get("/v1/route", **describe(answer=RouteView))
    async def show_route(model: Annotated[str | None, Query(max_length=200)] = None) -> JsonDocument:
        """Which model would answer a request that names `model` (or none), and why."""
        route = homefire.router.route(
            RouteRequest(model=model or homefire.loaded.settings.chat.default_model)
        )
        return JsonDocument(
            RouteView(route.resolved.name, route.model.name, route.resolved.chain, route.reason)
        )

    return router


def model_view(model: ModelInfo) -> ModelView:
    """A model as JSON."""
    return ModelView(
        name=model.name,
        kind=model.kind,
        target=model.target,
        format=model.format,
        folder=str(model.folder),
        digest=model.digest,
        base=model.base,
        parent=model.parent,
        architecture=model.architecture,
        num_parameters=model.num_parameters,
        size_bytes=model.size_bytes,
        context_length=model.context_length,
        trainable=model.trainable,
        why_not_trainable=model.why_not_trainable,
        created_at_s=model.created_at_s,
    )
