"""JSON documents of the native API: typed structs out, strict structs in, both in the OpenAPI description.

The types are msgspec structs (mostly the store's own rows), so nothing is declared twice: `OpenApiTypes` hands a
route the references FastAPI shows and gathers the types whose schemas `openapi_document` adds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import msgspec
from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from homefire.api.body import LARGE_BODY_BYTES, decode
from homefire.api.failures import ERROR_TYPES, Dialect, dialect_of_tag

T = TypeVar("T")
_REFERENCE = "#/components/schemas/{name}"
_PLACEHOLDER = "x-homefire-type"


class JsonDocument(Response):
    """A struct as JSON."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Encode; paths become strings."""
        return msgspec.json.encode(content, enc_hook=str)


async def read_document(request: Request, kind: type[T]) -> T:
    """The body as `kind`; an empty body counts as `{}`. Raises InvalidRequest or UnsupportedParameter."""
    body = await request.body() or b"{}"
    decoder = msgspec.json.Decoder(kind)
    if len(body) < LARGE_BODY_BYTES:
        return decode(decoder, body)
    return await asyncio.to_thread(decode, decoder, body)


class ChatRoute(NamedTuple):
    """A POST route that bypasses the framework."""

    dialect: Dialect
    body: type[Any]
    answer: type[Any]
    operation_id: str
    summary: str
    stream_type: str | None = "text/event-stream"


def create_router(*tags: str) -> APIRouter:
    """For routes of the API."""
    return APIRouter(tags=list(tags), generate_unique_id_function=_operation_id)


def _operation_id(route: APIRoute) -> str:
    """`sessions_list_sessions`; unique, because a router's names are."""
    return f"{route.tags[0]}_{route.name}"


class OpenApiTypes:
    """Gathers the types that routes take and give."""

    def __init__(self) -> None:
        self.types: list[type[Any]] = []
        self.operations: dict[str, dict[str, Any]] = {}

    def route(
        self,
        *,
        answer: type[Any] | None = None,
        body: type[Any] | None = None,
        answer_type: str = "application/json",
    ) -> dict[str, Any]:
        """Keyword arguments for `router.get(...)` and the like."""
        schema: dict[str, Any] = self.reference(answer) if answer is not None else {"type": "string"}
        options: dict[str, Any] = {
            "response_model": None,
            "responses": {200: {"description": "As asked.", "content": {answer_type: {"schema": schema}}}},
        }
        if body is not None:
            options["openapi_extra"] = {"requestBody": self._request_body(body)}
        return options

    def chat_route(self, path: str, route: ChatRoute) -> None:
        """Describe a chat route, which the framework does not see."""
        content: dict[str, Any] = {"application/json": {"schema": self.reference(route.answer)}}
        if route.stream_type is not None:
            content[route.stream_type] = {"schema": {"type": "string"}}
        self.operations[path] = {
            "post": {
                "summary": route.summary,
                "operationId": route.operation_id,
                "tags": [route.dialect],
                "requestBody": self._request_body(route.body),
                "responses": {"200": {"description": "The answer, whole or streamed.", "content": content}},
            }
        }

    def _request_body(self, body: type[Any]) -> dict[str, Any]:
        return {"required": True, "content": {"application/json": {"schema": self.reference(body)}}}

    def reference(self, kind: type[Any]) -> dict[str, Any]:
        """Where the schema of this type will be, in a form that `resolve` replaces."""
        if kind not in self.types:
            self.types.append(kind)
        return {_PLACEHOLDER: self.types.index(kind)}

    def resolve(self, document: dict[str, Any]) -> dict[str, Any]:
        """The document with every placeholder replaced, and the schemas it refers to."""
        references, schemas = msgspec.json.schema_components(self.types, ref_template=_REFERENCE)
        found: dict[str, Any] = _replace(document, references)
        found["components"] = {"schemas": schemas}
        return found


def openapi_document(app: FastAPI, types: OpenApiTypes) -> Callable[[], dict[str, Any]]:
    """A replacement for `app.openapi` that knows the structs and the chat routes; made once, on demand."""

    def build() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = get_openapi(
                title=app.title, version=app.version, description=app.description, routes=app.routes
            )
            document["paths"].update(types.operations)
            for operations in document["paths"].values():
                for operation in operations.values():
                    operation["responses"].pop("422", None)
                    operation["responses"]["default"] = _failure(types, operation["tags"][0])
            app.openapi_schema = types.resolve(document)
        return app.openapi_schema

    return build


def _failure(types: OpenApiTypes, tag: str) -> dict[str, Any]:
    """Any answer except the one described, in the shape that the clients of this dialect read."""
    headers = {"X-Homefire-Error": "Which error: docs/reference/errors.md.", "Request-Id": "Also in the log."}
    return {
        "description": "What went wrong.",
        "headers": {
            name: {"description": about, "schema": {"type": "string"}} for name, about in headers.items()
        },
        "content": {"application/json": {"schema": types.reference(ERROR_TYPES[dialect_of_tag(tag)])}},
    }


def _replace(node: Any, references: tuple[dict[str, Any], ...]) -> Any:
    if isinstance(node, dict):
        if _PLACEHOLDER in node:
            return references[node[_PLACEHOLDER]]
        return {key: _replace(value, references) for key, value in node.items()}
    if isinstance(node, list):
        return [_replace(value, references) for value in node]
    return node
