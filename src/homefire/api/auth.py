"""Who asks: the principal of a request, from its key, its cookie, or its place on this machine.

One principal for one request: two keys of different owners are refused. Adds about 5 µs to a request whose key
was seen before.
"""

from __future__ import annotations

from starlette.requests import HTTPConnection

from homefire.api.asgi import Scope
from homefire.api.policy import HeaderMap, Policy, presented_cookie, presented_keys
from homefire.chat.request import Principal
from homefire.errors import AuthenticationRequired
from homefire.store.api_keys import KEY_PREFIX, KeyRing

OPEN_PATHS = frozenset({"/health", "/login"})
"""Answered without a key: liveness, which tells nothing else, and the page that asks for a key."""
OPEN_FILES = "/static/"
"""Style and script of the pages: the same in every installation."""
NOBODY = Principal(id="nobody")
"""Who asks for what is open, without a key."""


def authenticate(scope: Scope, headers: HeaderMap, *, host: str, policy: Policy, keys: KeyRing) -> Principal:
    """Who sends this request. AuthenticationRequired where nobody may do without a key, or the key is wrong.

    For a program on this machine a key that is not known and does not begin with `hf-` counts as none: clients
    that insist on one are given some filler.
    """
    peer = scope["client"][0] if scope.get("client") else None
    owner: str | None = None
    for key in presented_keys(headers):
        key_id = keys.find(key)
        if key_id is None:
            if not key.startswith(KEY_PREFIX) and policy.may_pass_without_key(peer, host, headers):
                continue
            key_id = keys.authenticate(key)
        if owner is not None and owner != key_id:
            raise AuthenticationRequired("The request shows two keys of different owners.")
        owner = key_id
    if owner is not None:
        return Principal(id=owner)
    cookie = presented_cookie(headers)
    if cookie is not None and (key_id := keys.find(cookie)) is not None:
        # A cookie of another home on this host is not an attack: a wrong one only counts as none.
        return Principal(id=key_id)
    if policy.may_pass_without_key(peer, host, headers):
        return Principal()
    if scope["path"] in OPEN_PATHS or scope["path"].startswith(OPEN_FILES):
        return NOBODY
    raise AuthenticationRequired(
        "This server asks for an API key.",
        hint="Send it as `Authorization: Bearer <key>` or `x-api-key: <key>`.",
    )


def principal_of(request: HTTPConnection) -> Principal:
    """Who asks, as the guard found out."""
    principal: Principal = request.scope["state"]["principal"]
    return principal
