"""The one path of every request: host, sender, key, media type, body, and then the endpoint.

Around all of it are one deadline (`server.request_timeout_s`), the watch for a client that leaves, the metrics,
and one place that answers errors in the dialect of the address. Chat routes are endpoints of their own; everything
else is the framework's router, called with the body already read. Adds about 40 µs to a request.

What changes something through the router (a promotion, a model that is copied) is finished once it has begun,
also when the client leaves or the deadline passes: half a change is worse than a late one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from itertools import count
from typing import Any
from urllib.parse import quote

import anyio.to_thread
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRouter, iter_route_contexts
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response

from homefire.api.addresses import API_PREFIXES, Addresses
from homefire.api.asgi import Receive, Scope, Send
from homefire.api.auth import authenticate
from homefire.api.body import ClientGone, read_body
from homefire.api.context import Context
from homefire.api.exchange import Exchange
from homefire.api.failures import to_homefire_error
from homefire.api.policy import SAFE_METHODS, SINGLE_HEADERS, Policy, check_media_type
from homefire.api.presence import CancelOnDisconnect
from homefire.errors import (
    Forbidden,
    HomefireError,
    InvalidRequest,
    MethodNotAllowed,
    RequestTimeout,
    ServerStopping,
    quoted,
)

Endpoint = Callable[[Exchange], Awaitable[None]]
STATUS_CLIENT_GONE = 499
SIGN_IN_PAGE = "/login"
QUESTIONS = frozenset({"/v1/embeddings", "/api/embed", "/api/embeddings", "/api/show"})
"""POST addresses that change nothing: they end with their client and with the deadline."""
_MAX_HEADERS = 100
_CORS_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


class HomefireApp(FastAPI):
    """FastAPI's router behind the guard. `add_endpoint` and the routers fill it; `addresses` must then be set."""

    def __init__(self, context: Context, **options: Any) -> None:
        super().__init__(**options)
        server = context.homefire.loaded.settings.server
        self.state.context = context
        self.addresses = Addresses(())
        self.error_page: Callable[[HomefireError], Response] | None = None
        """How pages answer a browser's error; None: as JSON."""
        self._endpoints: dict[str, Endpoint] = {}
        self._context, self._metrics = context, context.metrics
        self._redact = context.homefire.redactor.redact
        self._request_ids = count(1)
        self._id_prefix = context.homefire.world.new_id("req")
        self._timeout_s, self._max_body_bytes = server.request_timeout_s, server.max_body_bytes
        self._policy = Policy.from_settings(
            server.host,
            allowed_hosts=server.allowed_hosts,
            allowed_origins=server.allowed_origins,
            loopback_without_key=server.loopback_without_key,
        )
        self._cors: CORSMiddleware | None = None
        if self._policy.allowed_origins:
            self._cors = CORSMiddleware(
                self._answer,
                allow_origins=self._policy.allowed_origins,
                allow_methods=_CORS_METHODS,
                allow_headers=("*",),
                expose_headers=("*",),
                allow_private_network=True,
            )

    def prepare(self) -> None:
        """Load now what the framework would load within its first requests: 25 ms of the event loop."""
        anyio.to_thread.current_default_thread_limiter()
        for _ in iter_route_contexts(self.routes):
            pass

    def add_router(self, router: APIRouter) -> None:
        """Answer its routes. The framework's own way builds each of them a second time, a tenth of a start."""
        self.router.routes.extend(router.routes)

    def add_endpoint(self, path: str, endpoint: Endpoint) -> None:
        """Answer POST on `path` without the framework's router."""
        self._endpoints[path] = endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; raises only what ends the server itself."""
        if scope["type"] == "http":
            if self._cors is not None and any(name == b"origin" for name, _ in scope["headers"]):
                await self._cors(scope, receive, send)
            else:
                await self._answer(scope, receive, send)
        elif scope["type"] == "lifespan":
            scope["app"] = self
            await self.router(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008, "reason": "no websockets here"})

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        began_s = time.perf_counter()
        exchange = Exchange(scope, receive, send, request_id=f"{self._id_prefix}{next(self._request_ids):x}")
        exchange.dialect = self.addresses.dialect(scope["path"], exchange.headers)
        try:
            async with asyncio.timeout(self._timeout_s) as exchange.deadline:
                self._admit(exchange)
                path: str = scope["path"]
                endpoint = self._endpoints.get(path) if scope["method"] == "POST" else None
                exchange.route = path if endpoint is not None else "other"
                if scope["method"] not in SAFE_METHODS:
                    exchange.body = await read_body(receive, exchange.headers, max_bytes=self._max_body_bytes)
                if endpoint is None and scope["method"] not in SAFE_METHODS and path not in QUESTIONS:
                    exchange.lift_deadline()
                    await self._framework(exchange)
                else:
                    with CancelOnDisconnect(receive, lambda: exchange.is_complete):
                        await (endpoint or self._framework)(exchange)
        except ClientGone:
            exchange.status = STATUS_CLIENT_GONE
        except asyncio.CancelledError:
            if not self._context.stopping.is_set():
                raise
            error = ServerStopping("The server stopped before this answer was finished.", hint="Ask again.")
            await exchange.fail(error, redact=self._redact)
        except Exception as error:  # noqa: BLE001 - every failure is answered, in the dialect's shape
            await self._fail(exchange, error)
        finally:
            self._metrics.request_done(
                route=exchange.route,
                dialect=exchange.dialect,
                status=exchange.status,
                seconds=time.perf_counter() - began_s,
            )

    def _admit(self, exchange: Exchange) -> None:
        """Find out who asks; raises where this request is not allowed."""
        scope, headers, policy = exchange.scope, exchange.headers, self._policy
        num_headers = len(scope["headers"])
        if len(headers) != num_headers:
            names = [name for name, _ in scope["headers"] if name in SINGLE_HEADERS]
            if len(set(names)) != len(names):
                raise Forbidden("A header that decides who may pass was sent twice.")
        if num_headers > _MAX_HEADERS:
            raise InvalidRequest(f"The request has more than {_MAX_HEADERS} headers.")
        host = policy.check_host(headers.get(b"host"))
        policy.check_sender(scope["method"], headers)
        exchange.principal = authenticate(scope, headers, host=host, policy=policy, keys=self._context.keys)
        scope.setdefault("state", {})["principal"] = exchange.principal
        check_media_type(scope["method"], headers, is_api=scope["path"].startswith(API_PREFIXES))

    async def _framework(self, exchange: Exchange) -> None:
        """Everything that is not an endpoint of its own: the router, called as the framework calls it."""
        scope = exchange.scope
        if exchange.is_head:
            scope = {**scope, "method": "GET"}
        scope["app"], scope["homefire.exchange"] = self, exchange
        try:
            async with AsyncExitStack() as stack:
                scope["fastapi_middleware_astack"] = stack
                await self.router(scope, exchange.receive, exchange.send)
        except RequestValidationError as error:
            first = error.errors()[0]
            param = ".".join(str(part) for part in first["loc"][1:])
            raise InvalidRequest(
                f"The parameter {quoted(param)} does not fit: {first['msg']}.", param=param
            ) from None
        except HTTPException as error:
            raise self._to_homefire_error(error, exchange) from None
        finally:
            exchange.route = getattr(scope.get("route"), "path", "other")

    def _to_homefire_error(self, error: HTTPException, exchange: Exchange) -> HomefireError:
        """The router's own refusals as ours."""
        path = exchange.scope["path"]
        if error.status_code == 404:
            return self.addresses.not_found(path)
        if error.status_code == 405:
            allowed = sorted(
                {name.strip() for name in (error.headers or {}).get("Allow", "").split(",") if name}
            )
            return MethodNotAllowed(
                f"{exchange.scope['method']} is not possible at {path[:200]}.",
                hint=f"Possible: {', '.join(allowed)}." if allowed else None,
                allowed=allowed,
            )
        return InvalidRequest(str(error.detail))

    async def _fail(self, exchange: Exchange, error: Exception) -> None:
        if isinstance(error, TimeoutError) and exchange.deadline.expired():
            error = RequestTimeout(
                f"The request was not finished within {self._timeout_s:g} s and was cancelled.",
                hint="Send it faster, ask for fewer tokens, or raise server.request_timeout_s.",
                request_timeout_s=self._timeout_s,
            )
        if not exchange.is_begun and _wants_page(exchange):
            known = to_homefire_error(error, request_id=exchange.request_id)
            if known.http_status == 401 and exchange.scope["method"] in SAFE_METHODS:
                await exchange.respond(303, [(b"location", sign_in_address(exchange.scope).encode())], b"")
                return
            if self.error_page is not None:
                await self.error_page(known)(exchange.scope, exchange.receive, exchange.send)
                return
        await exchange.fail(error, redact=self._redact)


def _wants_page(exchange: Exchange) -> bool:
    """Whether a browser asks for a page, for a person to look at."""
    return (
        b"hx-request" not in exchange.headers
        and b"text/html" in exchange.headers.get(b"accept", b"")
        and not exchange.scope["path"].startswith(API_PREFIXES)
    )


def sign_in_address(scope: Scope) -> str:
    """The sign-in page, told where to continue afterwards; it follows only paths of this server."""
    query = scope.get("query_string", b"").decode("latin-1")
    wanted = scope["path"] + (f"?{query}" if query else "")
    return SIGN_IN_PAGE if wanted == "/" else f"{SIGN_IN_PAGE}?next={quote(wanted, safe='/')}"
