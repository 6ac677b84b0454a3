"""Texts as unit vectors: `/v1/embeddings` as OpenAI's clients ask, `/api/embed` and `/api/embeddings` as Ollama's.

Many texts are one call of the engine. A text that is too long is an error, never cut; so are tokens instead of
texts, and vectors of another length than the model gives. Vectors become JSON one at a time, on a thread where
there are many: no stretch of it is long.
"""

from __future__ import annotations

import asyncio
import base64
import struct
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from fastapi import APIRouter
from starlette.requests import Request

from homefire.api import ollama_types, openai_types
from homefire.api.body import invalid, unsupported
from homefire.api.context import Context
from homefire.api.documents import JsonDocument, create_router, read_document
from homefire.api.ollama import check_options, keep_alive_s, plain_name
from homefire.engines.base import Embeddings
from homefire.serving.router import RouteRequest

MANY_VECTORS = 8


def create_embedding_router(context: Context) -> APIRouter:
    """The routes of both dialects."""
    router = create_router()
    homefire, describe = context.homefire, context.described.route

    async def embed(model: str, texts: list[str], dimensions: int | None) -> tuple[str, Embeddings]:
        """The model that answers, and what it gives."""
        route = homefire.router.route(RouteRequest(model=model))
        found = await homefire.serving.embed(route, texts)
        length = len(found.vectors[0]) if found.vectors else 0
        if dimensions is not None and length and dimensions != length:
            raise unsupported("dimensions", f"the vectors of {route.model.name} have {length}")
        return route.model.name, found

    @router.post(
        "/v1/embeddings",
        tags=["openai"],
        **describe(body=openai_types.EmbeddingsBody, answer=openai_types.Embeddings),
    )
    async def create_embeddings(request: Request) -> JsonDocument:
        """One unit vector for each text."""
        wanted = await read_document(request, openai_types.EmbeddingsBody)
        texts = _texts(wanted.input)
        served_model, found = await embed(wanted.model, texts, wanted.dimensions)
        form = _base64 if wanted.encoding_format == "base64" else msgspec.json.encode
        return JsonDocument(
            openai_types.Embeddings(
                [
                    openai_types.Embedding(vector, index)  # type: ignore[arg-type]  # JSON already
                    for index, vector in enumerate(await _as_json(found.vectors, form))
                ],
                served_model,
                openai_types.EmbeddingsUsage(found.usage.prompt_tokens, found.usage.prompt_tokens),
            )
        )

    @router.post(
        "/api/embed",
        tags=["ollama"],
        **describe(body=ollama_types.EmbedBody, answer=ollama_types.EmbedAnswer),
    )
    async def embed_texts(request: Request) -> JsonDocument:
        """One unit vector for each text; an empty list loads the model."""
        began_ns = time.perf_counter_ns()
        wanted = await read_document(request, ollama_types.EmbedBody)
        check_options(wanted.options)
        keep_alive_s(wanted.keep_alive)
        texts = _texts(wanted.input)
        _, found = await embed(plain_name(wanted.model), texts, wanted.dimensions)
        return JsonDocument(
            ollama_types.EmbedAnswer(
                wanted.model,
                await _as_json(found.vectors, msgspec.json.encode),  # type: ignore[arg-type]  # JSON already
                time.perf_counter_ns() - began_ns,
                found.usage.prompt_tokens,
            )
        )

    @router.post(
        "/api/embeddings",
        tags=["ollama"],
        **describe(body=ollama_types.OldEmbedBody, answer=ollama_types.OldEmbedAnswer),
    )
    async def embed_text(request: Request) -> JsonDocument:
        """One unit vector for one text, as older clients ask."""
        wanted = await read_document(request, ollama_types.OldEmbedBody)
        check_options(wanted.options)
        keep_alive_s(wanted.keep_alive)
        if not wanted.prompt:
            raise invalid("prompt", "an empty text has no embedding")
        _, found = await embed(plain_name(wanted.model), [wanted.prompt], None)
        return JsonDocument(ollama_types.OldEmbedAnswer(list(found.vectors[0])))

    return router


def _texts(given: str | list[Any]) -> list[str]:
    """One or many. Refuses tokens, which are those of another tokenizer, and empty texts."""
    many = [given] if isinstance(given, str) else given
    for index, text in enumerate(many):
        if not isinstance(text, str):
            if isinstance(text, int | list):
                raise unsupported("input", "arrays of tokens are not read", hint="Send texts.")
            raise invalid(f"input[{index}]", "it is not a text")
        if not text:
            raise invalid("input" if given == "" else f"input[{index}]", "an empty text has no embedding")
    return many


async def _as_json(
    vectors: Sequence[Sequence[float]], form: Callable[[Sequence[float]], bytes]
) -> list[msgspec.Raw]:
    def make() -> list[msgspec.Raw]:
        return [msgspec.Raw(form(vector)) for vector in vectors]

    return await asyncio.to_thread(make) if len(vectors) > MANY_VECTORS else make()


def _base64(vector: Sequence[float]) -> bytes:
    return b'"%s"' % base64.b64encode(struct.pack(f"<{len(vector)}f", *vector))
