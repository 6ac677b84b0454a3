"""The whole HTTP side of one Homefire as an application: guard, hot chat routes, native routes, errors.

    app = create_app(homefire)          # an ASGI application; `run.serve` listens with it

Every request passes `Guard`. The chat routes (`HOT_ROUTES`) are then called directly; the rest is FastAPI,
which describes itself at /openapi.json. Every error leaves in the shape of its dialect.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route

import homefire as package
from homefire.api import anthropic_types, native_types, ollama_types, openai_types
from homefire.api.anthropic import AnthropicCount, AnthropicMessages
from homefire.api.auth import App, Guard, Scope, Send
from homefire.api.body import Receive
from homefire.api.context import Context
from homefire.api.documents import openapi_document
from homefire.api.exchange import ChatDoor, Translate
from homefire.api.failures import Dialect, dialect_of, error_bytes, error_headers, understood
from homefire.api.metrics import Metrics
from homefire.api.model_lists import create_ollama_router, create_openai_router, say_running
from homefire.api.native_chat import NativeChat
from homefire.api.native_learning import create_learning_router
from homefire.api.native_models import create_model_router
from homefire.api.native_sessions import create_session_router
from homefire.api.native_status import create_status_router, readings
from homefire.api.native_versions import create_version_router
from homefire.api.ollama import ModelControl, OllamaChat, OllamaGenerate
from homefire.api.openai import OpenAIChat
from homefire.api.policy import Policy
from homefire.app import Homefire
from homefire.errors import HomefireError, InvalidRequest, MethodNotAllowed, NotFound
from homefire.serving.router import RouteRequest
from homefire.store.api_keys import KeyRing
from homefire.store.events import KeyCreated, KeyRevoked
from homefire.types import Message

HOT_ROUTES: Mapping[str, tuple[Dialect, type[Any], str]] = {
    "/v1/chat/completions": ("openai", openai_types.ChatBody, "Chat, as OpenAI's clients speak it."),
    "/v1/messages": ("anthropic", anthropic_types.MessagesBody, "Chat, as Anthropic's clients speak it."),
    "/v1/messages/count_tokens": (
        "anthropic",
        anthropic_types.CountBody,
        "Count a prompt's tokens, exactly.",
    ),
    "/api/chat": ("ollama", ollama_types.ChatBody, "Chat, as Ollama's clients speak it."),
    "/api/generate": ("ollama", ollama_types.GenerateBody, "Answer one prompt, as Ollama's clients ask."),
    "/v1/chat": ("native", native_types.ChatBody, "Chat, with everything a turn can do."),
}
"""POST routes that bypass the framework: dialect, body, what it does."""


class HomefireApp(FastAPI):
    """FastAPI behind the guard."""

    guard: Guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request; the guard decides what becomes of it."""
        await self.guard(scope, receive, send, onward=super().__call__)


def create_app(homefire: Homefire) -> HomefireApp:
    """The application that serves `homefire`. Does not listen and starts nothing."""
    metrics = Metrics(lambda: readings(homefire))
    context = Context(homefire=homefire, metrics=metrics, keys=KeyRing(homefire.store.keys.find))
    app = HomefireApp(
        title="Homefire",
        version=package.__version__,
        description="A self-hosted AI that serves, remembers, learns, and can always go back.",
        docs_url=None,
        redoc_url=None,
        swagger_ui_oauth2_redirect_url=None,
        lifespan=_lifespan(context),
    )
    app.state.context = context
    hot = _hot_routes(context)
    app.guard = _guard(context, hot)
    app.router.routes.append(_RootForPrograms("/", say_running, methods=["GET", "HEAD"]))
    app.router.routes.extend(Route(path, door, methods=["POST"]) for path, door in hot.items())
    for create in (
        create_status_router,
        create_learning_router,
        create_version_router,
        create_model_router,
        create_session_router,
        create_openai_router,
        create_ollama_router,
    ):
        app.include_router(create(context))
    _translate_errors(app, context)
    app.openapi = openapi_document(app, context.described)  # type: ignore[method-assign]
    return app


def _guard(context: Context, hot: Mapping[str, App]) -> Guard:
    server = context.homefire.loaded.settings.server
    return Guard(
        policy=Policy.from_settings(
            server.host,
            allowed_hosts=server.allowed_hosts,
            allowed_origins=server.allowed_origins,
            loopback_without_key=server.loopback_without_key,
        ),
        keys=context.keys,
        metrics=context.metrics,
        redact=context.homefire.redactor.redact,
        hot=hot,
        max_body_bytes=server.max_body_bytes,
        body_timeout_s=server.request_timeout_s,
    )


def _hot_routes(context: Context) -> dict[str, App]:
    homefire = context.homefire
    server = homefire.loaded.settings.server

    async def count_tokens(model: str, messages: tuple[Message, ...]) -> int:
        return await homefire.serving.count_tokens(homefire.router.route(RouteRequest(model=model)), messages)

    async def unload(model: str) -> None:
        homefire.serving.unload(model)

    def context_length(model: str) -> int:
        route = homefire.router.route(RouteRequest(model=model))
        return homefire.serving.context_length(route) or route.model.context_length

    models = ModelControl(context_length=context_length, load=homefire.serving.warm, unload=unload)
    translators: dict[str, Translate] = {
        "/v1/chat/completions": OpenAIChat(),
        "/v1/messages": AnthropicMessages(),
        "/v1/messages/count_tokens": AnthropicCount(count_tokens),
        "/api/chat": OllamaChat(models),
        "/api/generate": OllamaGenerate(models),
        "/v1/chat": NativeChat(default_model=homefire.loaded.settings.chat.default_model),
    }
    doors: dict[str, App] = {}
    for path, (dialect, body, summary) in HOT_ROUTES.items():
        context.described.hot_route(path, body, summary=summary, tag=dialect)
        doors[path] = ChatDoor(
            translators[path],
            dialect=dialect,
            route=path,
            run_turn=homefire.turns.run,
            metrics=context.metrics,
            redact=homefire.redactor.redact,
            max_body_bytes=server.max_body_bytes,
            body_timeout_s=server.request_timeout_s,
            stopping=context.stopping,
        )
    return doors


class _RootForPrograms(Route):
    """The root for clients that do not ask for HTML; a browser's request goes on to the page."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        for name, value in scope.get("headers", ()):
            if name == b"accept" and b"text/html" in value:
                return Match.NONE, {}
        return super().matches(scope)


def _lifespan(context: Context) -> Any:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        subscription = context.homefire.store.subscribe()

        async def follow_keys() -> None:
            async for recorded in subscription:
                if isinstance(recorded.event, KeyCreated | KeyRevoked):
                    context.keys.forget()

        following = asyncio.create_task(follow_keys(), name="follow keys")
        try:
            yield
        finally:
            subscription.close()
            following.cancel()
            with suppress(asyncio.CancelledError):
                await following

    return lifespan


def _translate_errors(app: FastAPI, context: Context) -> None:
    redact = context.homefire.redactor.redact

    async def answer(request: Request, error: Exception) -> Response:
        known = understood(_from_framework(error, request))
        dialect = dialect_of(request.url.path, request.scope["headers"] and dict(request.scope["headers"]))
        response = Response(
            error_bytes(known, dialect, redact=redact), known.http_status, media_type="application/json"
        )
        response.raw_headers.extend(error_headers(known))
        return response

    for kind in (HomefireError, HTTPException, RequestValidationError, Exception):
        app.add_exception_handler(kind, answer)


def _from_framework(error: Exception, request: Request) -> Exception:
    """The framework's own refusals as ours."""
    path = request.url.path
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        param = ".".join(str(part) for part in first["loc"][1:])
        return InvalidRequest(f"The parameter {param!r} does not fit: {first['msg']}.", param=param)
    if isinstance(error, HTTPException):
        if error.status_code == 404:
            return NotFound(f"There is nothing at {path}.", hint="docs/reference/api.md lists all addresses.")
        if error.status_code == 405:
            allowed = (error.headers or {}).get("Allow", "")
            return MethodNotAllowed(
                f"{request.method} is not possible at {path}.",
                hint=f"Possible: {allowed}." if allowed else None,
                allowed=[name.strip() for name in allowed.split(",") if name],
            )
        return InvalidRequest(str(error.detail))
    return error
