"""API keys over HTTP: make one, list them, revoke one.

Only the owner of the home may: a program on this machine without a key, or whoever shows the key that the home
itself keeps. A new key is shown once; only its hash is kept. A revoked key opens nothing from the moment the answer
is sent.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from fastapi import APIRouter, Path
from starlette.requests import Request

from homefire.api.auth import principal_of
from homefire.api.body import invalid
from homefire.api.context import Context
from homefire.api.documents import JsonDocument, create_router, read_document
from homefire.api.owner import check_owner
from homefire.errors import Conflict
from homefire.store.api_keys import create_key, owner_ids
from homefire.store.nouns.keys import KeyRevoked

MAX_NAME_CHARS = 100
KeyId = Annotated[str, Path(max_length=100)]


class KeyBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`name` says what the key is for."""

    name: str


class KeyView(msgspec.Struct, frozen=True, kw_only=True):
    """A key without its secret. `is_home`: the one the home itself keeps."""

    key_id: str
    name: str
    created_at_s: float
    revoked_at_s: float | None
    is_home: bool


class Keys(msgspec.Struct, frozen=True):
    """All keys, revoked ones too, oldest first."""

    keys: list[KeyView]


class NewKey(msgspec.Struct, frozen=True):
    """A key that was just made: the only time its secret is shown."""

    key_id: str
    name: str
    key: str


class RevokedKey(msgspec.Struct, frozen=True):
    """A key that opens nothing any more."""

    revoked: str


def create_key_router(context: Context) -> APIRouter:
    """Routes of API keys."""
    router = create_router("keys")
    homefire, describe = context.homefire, context.described.route
    store = homefire.store

    def home_key_id() -> str | None:
        """The key that the home keeps."""
        return next(iter(owner_ids(homefire.home, store.keys.find) - {"local"}), None)

    @router.get("/v1/keys", **describe(answer=Keys))
    async def list_keys(request: Request) -> JsonDocument:
        """All keys by name and id, revoked ones too. For the owner only."""
        check_owner(context, principal_of(request), to="manage its keys")
        kept = home_key_id()
        return JsonDocument(
            Keys(
                [
                    KeyView(
                        key_id=row.key_id,
                        name=row.name,
                        created_at_s=row.created_at_s,
                        revoked_at_s=row.revoked_at_s,
                        is_home=row.key_id == kept,
                    )
                    for row in store.keys.list()
                ]
            )
        )

    @router.post("/v1/keys", **describe(body=KeyBody, answer=NewKey))
    async def add_key(request: Request) -> JsonDocument:
        """Make a key; its secret is shown once, here. For the owner only."""
        check_owner(context, principal_of(request), to="manage its keys")
        name = (await read_document(request, KeyBody)).name.strip()
        if not 0 < len(name) <= MAX_NAME_CHARS or not name.isprintable():
            raise invalid("name", f"it must be 1 to {MAX_NAME_CHARS} printable characters")
        secret, created = create_key(homefire.world, name=name)
        homefire.redactor.register(secret)
        await store.append(created)
        return JsonDocument(NewKey(created.key_id, name, secret))

    @router.delete("/v1/keys/{key_id}", **describe(answer=RevokedKey))
    async def revoke_key(request: Request, key_id: KeyId) -> JsonDocument:
        """Revoke a key, at once and for good. For the owner only."""
        check_owner(context, principal_of(request), to="manage its keys")
        if key_id == home_key_id():
            raise Conflict(
                "This is the key that the home itself keeps; without it the next start would fail.",
                hint="Remove or replace it in the credentials folder and start again, then revoke it.",
                key_id=key_id,
            )
        await store.append(KeyRevoked(key_id=key_id))
        return JsonDocument(RevokedKey(key_id))

    return router
