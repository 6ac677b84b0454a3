"""API keys: how one is made, and how the one that a client presents is checked.

A key is `hf-` and 43 URL-safe characters (256 random bits). Only its SHA-256 is kept, so a stolen database
opens nothing. Checking one costs a hash and a dictionary look-up, the first time a database read.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable
from typing import Protocol

from homefire.config.secrets import API_KEY_FILE, Secret, check_api_key, load_api_key
from homefire.errors import AuthenticationRequired
from homefire.home import Home
from homefire.store.durable import write_file
from homefire.store.nouns.keys import KeyCreated, KeyRevoked
from homefire.store.store import Store
from homefire.world import World

KEY_PREFIX = "hf-"
NUM_KEY_BYTES = 32
MAX_CACHED_KEYS = 256


class StoredKey(Protocol):
    """What the store knows of a key."""

    @property
    def key_id(self) -> str: ...
    @property
    def sha256(self) -> str: ...
    @property
    def revoked_at_s(self) -> float | None: ...


FindKey = Callable[[str], StoredKey | None]
"""SHA-256 in hex to a key, revoked or not."""


def create_key(world: World, *, name: str) -> tuple[str, KeyCreated]:
    """A new secret and the event that makes it valid once the store has it. The secret exists only here."""
    secret = KEY_PREFIX + base64.urlsafe_b64encode(world.random_bytes(NUM_KEY_BYTES)).decode().rstrip("=")
    return secret, KeyCreated(key_id=world.new_id("key"), name=name, sha256=key_sha256(secret))


def keep_api_key(home: Home, text: str, world: World) -> Secret:
    """Keep a key in `credentials/api_key`, readable by its owner only, where `load_api_key` finds it.

    Raises ConfigError for what is not a key, else as `durable.write_file`.
    """
    path = home.credentials / API_KEY_FILE
    secret = check_api_key(text, f"file {path}")
    write_file(path, f"{text}\n".encode(), world)
    return secret


def owner_ids(home: Home, find: FindKey) -> frozenset[str]:
    """The principals that are the owner of the home: `local` (a program on this machine without a key), and the key
    that the home keeps in the environment or its credentials folder."""
    secret = load_api_key(home)
    known = find(key_sha256(secret.reveal())) if secret is not None else None
    return frozenset({"local"} | ({known.key_id} if known is not None else set()))


def key_sha256(secret: str) -> str:
    """How a key is looked up: the hex SHA-256 of its characters."""
    return hashlib.sha256(secret.encode()).hexdigest()


class KeyRing:
    """Says whose a key is; keeps a bounded number of answers, also those for wrong keys.

    They are forgotten when a key was made or revoked: once that is recorded, a revoked key opens nothing.
    """

    def __init__(self, find: FindKey, *, last_change: Callable[[], int]) -> None:
        """`last_change` is another number after each change of the keys (`Store.last_seq_of`)."""
        self._find, self._last_change = find, last_change
        self._seen_change = last_change()
        self._known: dict[str, str | None] = {}

    @classmethod
    def of(cls, store: Store) -> KeyRing:
        """The keys of this store."""
        return cls(store.keys.find, last_change=lambda: store.last_seq_of((KeyCreated, KeyRevoked)))

    def find(self, presented: str) -> str | None:
        """The `key_id` of this key; None where it is nobody's.

        The look-up is by the hash, which a guesser cannot steer, and the match is compared in constant time.
        """
        digest = key_sha256(presented)
        last_change = self._last_change()
        if last_change != self._seen_change:
            self._known.clear()
            self._seen_change = last_change
        if digest in self._known:
            return self._known[digest]
        row = self._find(digest)
        is_valid = row is not None and row.revoked_at_s is None and hmac.compare_digest(row.sha256, digest)
        if len(self._known) >= MAX_CACHED_KEYS:
            self._known.clear()
        self._known[digest] = row.key_id if row is not None and is_valid else None
        return self._known[digest]

    def authenticate(self, presented: str) -> str:
        """The `key_id` of this key; AuthenticationRequired where it is nobody's."""
        key_id = self.find(presented)
        if key_id is None:
            raise AuthenticationRequired(
                "This API key is not known.",
                hint="Use the key that was made at the first start; "
                "a program on this machine may also leave it out.",
            )
        return key_id
