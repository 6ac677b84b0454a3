"""The whole HTTP side of one Homefire as an application: guard, chat endpoints, native routes, errors.

    app = create_app(homefire)          # an ASGI application; `run.serve` listens with it

Every request passes the guard (`guard.py`), which calls a chat endpoint or the framework's router; the
application describes itself at /openapi.json. Every error leaves in the shape of its dialect.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from fastapi.routing import iter_route_contexts
from starlette.routing import Match, Route

import homefire as package
from homefire.api import anthropic_types, native_types, ollama_types, openai_types
from homefire.api.addresses import Addresses
from homefire.api.anthropic import AnthropicCount, AnthropicMessages, prompt_counter
from homefire.api.asgi import Scope
from homefire.api.chat_endpoint import ChatEndpoint, Translate
from homefire.api.context import Context
from homefire.api.documents import ChatRoute, openapi_document
from homefire.api.embeddings import create_embedding_router
from homefire.api.failures import Dialect, dialect_of_tag
from homefire.api.guard import HomefireApp as HomefireApp
from homefire.api.metrics import Metrics
from homefire.api.model_lists import create_ollama_router, create_openai_router, say_running
from homefire.api.native_chat import NativeChat
from homefire.api.native_keys import create_key_router
from homefire.api.native_learning import create_learning_router
from homefire.api.native_models import create_model_router
from homefire.api.native_sessions import create_session_router
from homefire.api.native_status import create_status_router, readings
from homefire.api.native_turns import create_turn_router
from homefire.api.native_versions import create_version_router
from homefire.api.ollama import ModelControl, OllamaChat, OllamaGenerate
from homefire.api.openai import OpenAIChat
from homefire.app import Homefire
from homefire.store.api_keys import KeyRing


class TokenCount(msgspec.Struct, frozen=True):
    """What a prompt would cost."""

    input_tokens: int


HOT_ROUTES: Mapping[str, ChatRoute] = {
    "/v1/chat/completions": ChatRoute(
        "openai",
        openai_types.ChatBody,
        openai_types.Completion,
        "openai_chat_completions",
        "Chat, as OpenAI's clients speak it.",
    ),
    "/v1/messages": ChatRoute(
        "anthropic",
        anthropic_types.MessagesBody,
        anthropic_types.AnswerMessage,
        "anthropic_messages",
        "Chat, as Anthropic's clients speak it.",
    ),
    "/v1/messages/count_tokens": ChatRoute(
        "anthropic",
        anthropic_types.CountBody,
        TokenCount,
        "anthropic_count_tokens",
        "Count a prompt's tokens, exactly.",
        None,
    ),
    "/api/chat": ChatRoute(
        "ollama",
        ollama_types.ChatBody,
        ollama_types.Answer,
        "ollama_chat",
        "Chat, as Ollama's clients speak it.",
        "application/x-ndjson",
    ),
    "/api/generate": ChatRoute(
        "ollama",
        ollama_types.GenerateBody,
        ollama_types.Answer,
        "ollama_generate",
        "Answer one prompt, as Ollama's clients ask.",
        "application/x-ndjson",
    ),
    "/v1/chat": ChatRoute(
        "native",
        native_types.ChatBody,
        native_types.ChatAnswer,
        "native_chat",
        "Chat, with everything a turn can do.",
    ),
}
"""POST routes that bypass the framework."""


def create_app(homefire: Homefire) -> HomefireApp:
    """The application that serves `homefire`. Does not listen and starts nothing."""
    metrics = Metrics(lambda: readings(homefire))
    context = Context(homefire=homefire, metrics=metrics, keys=KeyRing.of(homefire.store))
    app = HomefireApp(
        context,
        title="Homefire",
        version=package.__version__,
        description="A self-hosted AI that serves, remembers, learns, and can always go back.",
        docs_url=None,
        redoc_url=None,
        swagger_ui_oauth2_redirect_url=None,
    )
    _add_chat_endpoints(app, context)
    app.router.routes.append(_RootForPrograms("/", say_running, methods=["GET", "HEAD"]))
    for create in (
        create_status_router,
        create_key_router,
        create_learning_router,
        create_version_router,
        create_model_router,
        create_session_router,
        create_turn_router,
        create_openai_router,
        create_ollama_router,
        create_embedding_router,
    ):
        app.add_router(create(context))
    app.addresses = Addresses(_dialects(app))
    app.openapi = openapi_document(app, context.described)  # type: ignore[method-assign]
    return app


def _dialects(app: HomefireApp) -> Iterator[tuple[str, Dialect]]:
    """Every API address with its dialect."""
    for path, hot in HOT_ROUTES.items():
        yield path, hot.dialect
    for route in iter_route_contexts(app.routes):
        if tags := getattr(route, "tags", None):
            yield str(route.path), dialect_of_tag(str(tags[0]))


def _add_chat_endpoints(app: HomefireApp, context: Context) -> None:
    homefire = context.homefire

    system_prompt = homefire.loaded.settings.chat.system_prompt
    count_tokens = prompt_counter(homefire.serving, homefire.router, system_prompt=system_prompt)
    models = ModelControl(homefire.serving, homefire.router)
    translators: dict[str, Translate] = {
        "/v1/chat/completions": OpenAIChat(),
        "/v1/messages": AnthropicMessages(),
        "/v1/messages/count_tokens": AnthropicCount(count_tokens),
        "/api/chat": OllamaChat(models),
        "/api/generate": OllamaGenerate(models),
        "/v1/chat": NativeChat(default_model=homefire.loaded.settings.chat.default_model),
    }
    for path, route in HOT_ROUTES.items():
        context.described.chat_route(path, route)
        endpoint = ChatEndpoint(
            translators[path],
            dialect=route.dialect,
            turns=homefire.turns,
            metrics=context.metrics,
        )
        app.add_endpoint(path, endpoint)
        # For the router, which says which methods an address has.
        app.router.routes.append(Route(path, _only_for_its_methods, methods=["POST"]))


async def _only_for_its_methods(request: Any) -> Any:
    raise AssertionError("the guard answers POST on a chat route itself")


class _RootForPrograms(Route):
    """The root for clients that do not ask for HTML; a browser's request is passed on to the page."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        for name, value in scope.get("headers", ()):
            if name == b"accept" and b"text/html" in value:
                return Match.NONE, {}
        return super().matches(scope)
