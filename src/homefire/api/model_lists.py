"""The models as the three dialects list and describe them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Path, Query
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

import homefire as package
from homefire.api import anthropic_types, ollama_types, openai_types
from homefire.api.body import invalid, unsupported
from homefire.api.context import Context
from homefire.api.documents import JsonDocument, create_router, read_document
from homefire.api.ollama import plain_name, rfc3339
from homefire.api.translation import refuse_unsupported
from homefire.catalog.models import ModelInfo
from homefire.errors import InvalidRequest

NEVER = "9999-12-31T00:00:00Z"
MAX_LISTED = 1000
OLLAMA_VERSION = "0.33.2"
"""The Ollama release whose clients are served: some refuse to talk to an older one."""
ModelName = Annotated[str, Path(max_length=200)]


def create_openai_router(context: Context) -> APIRouter:
    """`/v1/models`, also in Anthropic's shape for requests with its header."""
    router = create_router("openai")
    homefire, describe = context.homefire, context.described.route

    @router.get("/v1/models", **describe(answer=openai_types.ModelCards))
    async def list_models(
        request: Request,
        limit: Annotated[int, Query(ge=1, le=MAX_LISTED)] = MAX_LISTED,
        after_id: str | None = None,
        before_id: str | None = None,
    ) -> JsonDocument:
        """Every name a request may use: bases, versions, aliases. Only Anthropic's clients page through them."""
        models = homefire.catalog.list()
        if "anthropic-version" in request.headers:
            return JsonDocument(_page(models, limit=limit, after_id=after_id, before_id=before_id))
        for name in ("limit", "after_id", "before_id"):
            if name in request.query_params:
                raise unsupported(name, "the list is whole")
        return JsonDocument(openai_types.ModelCards([_openai_card(model) for model in models]))

    @router.get("/v1/models/{model}", **describe(answer=openai_types.ModelCard))
    async def show_model(request: Request, model: ModelName) -> JsonDocument:
        """One of them; an alias is described by the model it means."""
        found = homefire.catalog.resolve(model).model
        card = _anthropic_card if "anthropic-version" in request.headers else _openai_card
        return JsonDocument(msgspec.structs.replace(card(found), id=model))

    return router


def create_ollama_router(context: Context) -> APIRouter:
    """`/api/tags`, `/api/ps`, `/api/show`, `/api/version`."""
    router = create_router("ollama")
    homefire, describe = context.homefire, context.described.route

    @router.get("/api/tags", **describe(answer=ollama_types.Tags))
    async def tags() -> JsonDocument:
        """Every name a request may use."""
        return JsonDocument(
            ollama_types.Tags(
                [
                    ollama_types.Tag(
                        name=model.name,
                        model=model.name,
                        modified_at=rfc3339(model.created_at_s),
                        size=model.size_bytes,
                        digest=model.digest.removeprefix("sha256:"),
                        details=_details(model),
                    )
                    for model in homefire.catalog.list()
                ]
            )
        )

    @router.get("/api/ps", **describe(answer=ollama_types.LoadedModels))
    async def loaded() -> JsonDocument:
        """The models in memory."""
        found = []
        for resident in homefire.serving.status():
            if resident.state != "ready":
                continue
            model = homefire.catalog.resolve(resident.name).model
            engine = resident.engine
            found.append(
                ollama_types.Loaded(
                    name=resident.name,
                    model=resident.name,
                    size=(engine.rss_bytes if engine is not None else None) or model.size_bytes,
                    digest=resident.digest.removeprefix("sha256:"),
                    details=_details(model),
                    expires_at=NEVER,
                    size_vram=0,
                    context_length=resident.context_length or model.context_length,
                )
            )
        return JsonDocument(ollama_types.LoadedModels(found))

    @router.post("/api/show", **describe(body=ollama_types.ShowBody, answer=ollama_types.Shown))
    async def show(request: Request) -> JsonDocument:
        """One model: what it is, how its prompts look, what it can do."""
        wanted = await read_document(request, ollama_types.ShowBody)
        refuse_unsupported(wanted, {"system": ("",), "template": ("",), "options": ({},)})
        name = wanted.model or wanted.name
        if not name:
            raise InvalidRequest("The field 'model' is missing.", param="model")
        model = homefire.catalog.resolve(plain_name(name)).model
        family = model.architecture.lower()
        info: dict[str, Any] = {
            "general.architecture": family,
            "general.parameter_count": model.num_parameters,
            f"{family}.context_length": model.context_length,
        }
        return JsonDocument(
            ollama_types.Shown(
                modelfile=f"# Homefire keeps no Modelfile\nFROM {model.name}\n",
                parameters="",
                template=(await homefire.catalog.chat_template(model)).source,
                details=_details(model),
                model_info=info,
                capabilities=["completion"],
                modified_at=rfc3339(model.created_at_s),
            )
        )

    @router.get("/api/version", **describe(answer=ollama_types.VersionInfo))
    async def version() -> JsonDocument:
        """The Ollama release whose clients are served, and the program's own version beside it."""
        return JsonDocument(ollama_types.VersionInfo(OLLAMA_VERSION, package.__version__))

    return router


async def say_running(request: Request) -> Response:
    """`Homefire is running`, for clients that probe the root and show no pages."""
    return PlainTextResponse("Homefire is running")


def _page(
    models: list[ModelInfo], *, limit: int, after_id: str | None, before_id: str | None
) -> anthropic_types.ModelCards:
    """At most `limit` models after the one named `after_id`, or the last ones before `before_id`."""
    places = {model.name: place for place, model in enumerate(models)}
    begin, end = 0, len(models)
    if after_id is not None and before_id is not None:
        raise invalid("before_id", "it excludes after_id")
    if after_id is not None:
        if after_id not in places:
            raise invalid("after_id", "no model has this name")
        begin = places[after_id] + 1
        end = min(end, begin + limit)
    elif before_id is not None:
        if before_id not in places:
            raise invalid("before_id", "no model has this name")
        end = places[before_id]
        begin = max(0, end - limit)
    else:
        end = min(end, limit)
    cards = [_anthropic_card(model) for model in models[begin:end]]
    has_more = begin > 0 if before_id is not None else end < len(models)
    first, last = (cards[0].id, cards[-1].id) if cards else (None, None)
    return anthropic_types.ModelCards(cards, first, last, has_more)


def _openai_card(model: ModelInfo) -> openai_types.ModelCard:
    return openai_types.ModelCard(model.name, int(model.created_at_s))


def _anthropic_card(model: ModelInfo) -> anthropic_types.ModelCard:
    created = datetime.fromtimestamp(model.created_at_s, UTC)
    stamp = created.isoformat().replace("+00:00", "Z")
    return anthropic_types.ModelCard(model.name, model.name, stamp, model.context_length)


def _details(model: ModelInfo) -> ollama_types.Details:
    family = model.architecture.lower()
    return ollama_types.Details(
        parent_model=model.parent or model.base or "",
        format=model.format,
        family=family,
        families=[family],
        parameter_size=_parameter_size(model.num_parameters),
        quantization_level="unknown" if model.format == "gguf" else "none",
    )


def _parameter_size(number: int) -> str:
    for factor, unit in ((1_000_000_000, "B"), (1_000_000, "M"), (1_000, "K")):
        if number >= factor:
            return f"{number / factor:.2g}{unit}" if number < 10 * factor else f"{number / factor:.0f}{unit}"
    return str(number)
