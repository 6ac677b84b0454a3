"""The door every request passes, and the only one: host, origin, key, media type, body size, then the route.

One pure ASGI layer outside the framework. Hot chat routes are called from here directly; everything else goes
on to FastAPI with its body already read within the limit. Whatever is refused is refused in the dialect of
the address. Adds about 20 µs to a request.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from contextlib import suppress
from typing import Any
from urllib.parse import quote

from starlette.requests import HTTPConnection

from homefire.api.body import ClientGone, Message, Receive, read_body
from homefire.api.failures import (
    Dialect,
    Headers,
    Redact,
    dialect_of,
    error_bytes,
    error_headers,
    understood,
)
from homefire.api.metrics import Metrics
from homefire.api.policy import (
    SAFE_METHODS,
    SINGLE_HEADERS,
    HeaderMap,
    Policy,
    check_media_type,
    shown_cookie,
    shown_keys,
)
from homefire.chat.request import Principal
from homefire.errors import AuthenticationRequired, Forbidden, HomefireError, InvalidRequest
from homefire.store.api_keys import KEY_PREFIX, KeyRing

Scope = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

OPEN_PATHS = frozenset({"/health", "/login"})
"""Answered without a key: liveness, which tells nothing else, and the page that asks for a key."""
OPEN_FILES = "/static/"
"""Style and script of the pages: the same in every installation."""
SIGN_IN_PAGE = "/login"

_API_PREFIXES = ("/v1/", "/api/")
_NOBODY = Principal(id="nobody")
_MAX_HEADERS = 100


class Guard:
    """See the module. `hot` maps a path to the ASGI application that answers POST on it."""

    def __init__(
        self,
        *,
        policy: Policy,
        keys: KeyRing,
        metrics: Metrics,
        redact: Redact,
        hot: Mapping[str, App],
        max_body_bytes: int,
        body_timeout_s: float,
    ) -> None:
        self._policy, self._keys, self._metrics, self._redact = policy, keys, metrics, redact
        self._hot = hot
        self._max_body_bytes, self._body_timeout_s = max_body_bytes, body_timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send, *, onward: App) -> None:
        """Answer one request, or pass it on to `onward` with `scope["state"]["principal"]` set."""
        if scope["type"] == "lifespan":
            await onward(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008, "reason": "no websockets here"})
            return
        started_s = time.perf_counter()
        headers: dict[bytes, bytes] = dict(scope["headers"])
        path: str = scope["path"]
        try:
            cors = self._admit(scope, headers)
        except HomefireError as error:
            await self._refuse(scope, send, error, started_s=started_s)
            return
        if cors is not None:
            send = _with_headers(send, cors)
            if scope["method"] == "OPTIONS" and b"access-control-request-method" in headers:
                await _respond(send, 204, _PREFLIGHT_HEADERS, b"")
                return
        door = self._hot.get(path)
        if door is not None and scope["method"] == "POST":
            await door(scope, receive, send)
            return
        await self._pass_on(scope, receive, send, headers=headers, onward=onward, started_s=started_s)

    def _admit(self, scope: Scope, headers: HeaderMap) -> Headers | None:
        """Who asks goes into the scope; the CORS headers to answer with, if a foreign page may read."""
        if len(headers) != len(scope["headers"]):
            _check_duplicates(scope["headers"])
        if len(scope["headers"]) > _MAX_HEADERS:
            raise InvalidRequest(f"The request has more than {_MAX_HEADERS} headers.")
        policy = self._policy
        policy.check_host(headers.get(b"host"))
        foreign = policy.check_origin(headers.get(b"origin"), headers[b"host"])
        cors = _cors_headers(headers[b"origin"]) if foreign else None
        preflight = foreign and scope["method"] == "OPTIONS"
        if not preflight:
            scope.setdefault("state", {})["principal"] = self._principal(scope, headers)
            forms_ok = not scope["path"].startswith(_API_PREFIXES)
            check_media_type(
                scope["method"], headers, forms_ok=forms_ok, curl_ok=scope["path"].startswith("/api/")
            )
        return cors

    def _principal(self, scope: Scope, headers: HeaderMap) -> Principal:
        keys = shown_keys(headers)
        peer = scope["client"][0] if scope.get("client") else None
        is_local = self._policy.may_pass_without_key(peer, headers)
        if is_local and not any(key.startswith(KEY_PREFIX) for key in keys):
            # Clients that insist on a key are given some filler by people who need none here.
            keys = []
        if keys:
            owners = {self._keys.recognise(key) for key in keys}
            if len(owners) > 1:
                raise AuthenticationRequired("The request shows two keys of different owners.")
            return Principal(id=owners.pop())
        cookie = shown_cookie(headers)
        if cookie is not None:
            # A cookie of another home on this host is no attack, so a wrong one only counts as none.
            with suppress(AuthenticationRequired):
                return Principal(id=self._keys.recognise(cookie))
        if is_local:
            return Principal()
        if scope["path"] in OPEN_PATHS or scope["path"].startswith(OPEN_FILES):
            return _NOBODY
        raise AuthenticationRequired(
            "This server asks for an API key.",
            hint="Send it as `Authorization: Bearer <key>` or `x-api-key: <key>`.",
        )

    async def _pass_on(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        *,
        headers: HeaderMap,
        onward: App,
        started_s: float,
    ) -> None:
        """A native route: the body is read here, so that the limit holds whatever the framework does."""
        status = 0

        async def counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            if scope["method"] not in SAFE_METHODS:
                body = await read_body(
                    receive,
                    declared_bytes=headers.get(b"content-length"),
                    max_bytes=self._max_body_bytes,
                    timeout_s=self._body_timeout_s,
                )
                receive = _replay(body, receive)
            await onward(scope, receive, counted)
        except ClientGone:
            status = 499
        except HomefireError as error:
            await self._refuse(scope, send, error, started_s=started_s)
            return
        route = scope.get("route")
        self._metrics.request_done(
            route=getattr(route, "path", "other"),
            dialect=dialect_of(scope["path"], headers),
            status=status,
            seconds=time.perf_counter() - started_s,
        )

    async def _refuse(self, scope: Scope, send: Send, error: HomefireError, *, started_s: float) -> None:
        names = {name for name, _ in scope["headers"]}
        dialect = dialect_of(scope["path"], names)
        if error.http_status == 401 and _is_page(scope):
            await _respond(send, 303, [(b"location", sign_in_address(scope).encode())], b"")
            return
        await send_error(send, error, dialect, redact=self._redact, head=scope["method"] == "HEAD")
        self._metrics.request_done(
            route=scope["path"] if scope["path"] in self._hot else "refused",
            dialect=dialect,
            status=error.http_status,
            seconds=time.perf_counter() - started_s,
        )


async def send_error(
    send: Send, error: BaseException, dialect: Dialect, *, redact: Redact, head: bool = False
) -> int:
    """Answer with an error (also one that is not ours) in the dialect's shape; the status that was sent."""
    known = understood(error)
    body = error_bytes(known, dialect, redact=redact)
    headers = [(b"content-type", b"application/json"), *error_headers(known)]
    await _respond(send, known.http_status, headers, b"" if head else body)
    return known.http_status


async def _respond(send: Send, status: int, headers: Headers, body: bytes) -> None:
    sized = [*headers, (b"content-length", str(len(body)).encode())] if status != 204 else headers
    await send({"type": "http.response.start", "status": status, "headers": sized})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def _is_page(scope: Scope) -> bool:
    """Whether a browser asks for a page, which a person then signs in for."""
    wants_html = any(name == b"accept" and b"text/html" in value for name, value in scope["headers"])
    return scope["method"] == "GET" and wants_html and not scope["path"].startswith(_API_PREFIXES)


def sign_in_address(scope: Scope) -> str:
    """The sign-in page, told where to go on to afterwards; it follows only paths of this server."""
    query = scope.get("query_string", b"").decode("latin-1")
    wanted = scope["path"] + (f"?{query}" if query else "")
    return SIGN_IN_PAGE if wanted == "/" else f"{SIGN_IN_PAGE}?next={quote(wanted, safe='/')}"


def principal_of(request: HTTPConnection) -> Principal:
    """Who asks, as the guard found out."""
    principal: Principal = request.scope["state"]["principal"]
    return principal


def _check_duplicates(headers: list[tuple[bytes, bytes]]) -> None:
    names = [name for name, _ in headers if name in SINGLE_HEADERS]
    if len(set(names)) != len(names):
        raise Forbidden("A header that decides who may pass was sent twice.")


_PREFLIGHT_HEADERS: Headers = [
    (b"access-control-allow-methods", b"GET, POST, DELETE"),
    (b"access-control-allow-headers", b"authorization, content-type, x-api-key, anthropic-version"),
    (b"access-control-max-age", b"600"),
]


def _cors_headers(origin: bytes) -> Headers:
    return [
        (b"access-control-allow-origin", origin),
        (b"access-control-expose-headers", b"*"),
        (b"vary", b"Origin"),
    ]


def _with_headers(send: Send, extra: Headers) -> Send:
    async def wrapped(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), *extra]}
        await send(message)

    return wrapped


def _replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body that was already read, then what the connection says."""
    pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return pending.pop() if pending else await receive()

    return replayed
