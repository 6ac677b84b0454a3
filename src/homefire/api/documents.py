"""JSON documents of the native API: typed structs out, strict structs in, both in the OpenAPI description.

The types are msgspec structs (mostly the store's own rows), so nothing is declared twice: `Described` hands a
route the references FastAPI shows and gathers the types whose schemas `openapi_document` adds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.requests import Request
from starlette.responses import Response

from homefire.api.body import decode

T = TypeVar("T")
_REFERENCE = "#/components/schemas/{name}"
_PLACEHOLDER = "x-homefire-type"


class JsonDocument(Response):
    """A struct as JSON."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Encode; paths become strings."""
        return msgspec.json.encode(content, enc_hook=str)


class ErrorBody(msgspec.Struct, frozen=True):
    """What went wrong: a stable code, what happened, what to do, the figures."""

    code: str
    message: str
    hint: str | None
    details: dict[str, Any]


class ErrorDocument(msgspec.Struct, frozen=True):
    """Every answer that is not 2xx."""

    error: ErrorBody


async def read_document(request: Request, kind: type[T]) -> T:
    """The body as `kind`; an empty body counts as `{}`. Raises InvalidRequest or UnsupportedParameter."""
    body = await request.body()
    return decode(msgspec.json.Decoder(kind), body or b"{}")


class Described:
    """Gathers the types that routes take and give."""

    def __init__(self) -> None:
        self.types: list[type[Any]] = [ErrorDocument]
        self.hot: dict[str, dict[str, Any]] = {}

    def route(
        self,
        *,
        answer: type[Any] | None = None,
        body: type[Any] | None = None,
        answer_type: str = "application/json",
    ) -> dict[str, Any]:
        """Keyword arguments for `router.get(...)` and its kin."""
        schema: dict[str, Any] = self._reference(answer) if answer is not None else {"type": "string"}
        options: dict[str, Any] = {
            "response_model": None,
            "responses": {200: {"description": "As asked.", "content": {answer_type: {"schema": schema}}}},
        }
        if body is not None:
            options["openapi_extra"] = {"requestBody": self._request_body(body)}
        return options

    def hot_route(self, path: str, body: type[Any], *, summary: str, tag: str) -> None:
        """Describe a chat route, which the framework does not see."""
        self.hot[path] = {
            "post": {
                "summary": summary,
                "tags": [tag],
                "requestBody": self._request_body(body),
                "responses": {"200": {"description": "The answer, plain or streamed."}},
            }
        }

    def _request_body(self, body: type[Any]) -> dict[str, Any]:
        return {"required": True, "content": {"application/json": {"schema": self._reference(body)}}}

    def _reference(self, kind: type[Any]) -> dict[str, Any]:
        if kind not in self.types:
            self.types.append(kind)
        return {_PLACEHOLDER: self.types.index(kind)}

    def resolve(self, document: dict[str, Any]) -> dict[str, Any]:
        """The document with every placeholder replaced, and the schemas it refers to."""
        references, schemas = msgspec.json.schema_components(self.types, ref_template=_REFERENCE)
        found: dict[str, Any] = _replace(document, references)
        found["components"] = {"schemas": schemas}
        return found


def openapi_document(app: FastAPI, described: Described) -> Callable[[], dict[str, Any]]:
    """A replacement for `app.openapi` that knows the structs and the hot routes; made once, on demand."""

    def build() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = get_openapi(
                title=app.title, version=app.version, description=app.description, routes=app.routes
            )
            document["paths"].update(described.hot)
            failure = {
                "description": "What went wrong, in the shape of the dialect.",
                "content": {"application/json": {"schema": {_PLACEHOLDER: 0}}},
            }
            for operations in document["paths"].values():
                for operation in operations.values():
                    operation["responses"].pop("422", None)
                    operation["responses"]["default"] = failure
            app.openapi_schema = described.resolve(document)
        return app.openapi_schema

    return build


def _replace(node: Any, references: tuple[dict[str, Any], ...]) -> Any:
    if isinstance(node, dict):
        if _PLACEHOLDER in node:
            return references[node[_PLACEHOLDER]]
        return {key: _replace(value, references) for key, value in node.items()}
    if isinstance(node, list):
        return [_replace(value, references) for value in node]
    return node
