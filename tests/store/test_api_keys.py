from __future__ import annotations

import msgspec
import pytest

from homefire.config.redaction import looks_like_secret
from homefire.errors import AuthenticationRequired
from homefire.store import api_keys
from homefire.store.api_keys import KeyRing, create_key, key_sha256
from homefire.store.nouns.keys import KeyRevoked, KeyRow
from homefire.store.store import Store
from homefire.world import World
from tests.store.backends import Backend


def test_a_new_key_opens_and_a_revoked_one_does_not(store: Store) -> None:
    secret, created = create_key(World(), name="laptop")
    store.append_sync(created)
    ring = KeyRing.of(store)
    assert ring.authenticate(secret) == created.key_id
    store.append_sync(KeyRevoked(key_id=created.key_id))
    with pytest.raises(AuthenticationRequired):
        ring.authenticate(secret)


def test_a_key_that_was_wrong_opens_as_soon_as_it_is_made(store: Store) -> None:
    secret, created = create_key(World(), name="laptop")
    ring = KeyRing.of(store)
    assert ring.find(secret) is None
    store.append_sync(created)
    assert ring.find(secret) == created.key_id


def test_planted_bug_a_ring_that_is_not_told_of_changes_is_noticed(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Store, "last_seq_of", lambda self, kinds: 0)
    with pytest.raises(pytest.fail.Exception):
        test_a_new_key_opens_and_a_revoked_one_does_not(store)


def test_a_key_that_is_found_revoked_opens_nothing() -> None:
    row = KeyRow(key_id="k", name="laptop", sha256=key_sha256("hf-x"), created_at_s=1.0, revoked_at_s=2.0)
    assert KeyRing(lambda _: row, last_change=int).find("hf-x") is None
    open_row = msgspec.structs.replace(row, revoked_at_s=None)
    assert KeyRing(lambda _: open_row, last_change=int).find("hf-x") == "k"


def test_only_the_hash_of_a_key_is_recorded(store: Store, backend: Backend) -> None:
    secret, created = create_key(World(), name="laptop")
    assert looks_like_secret(secret)
    store.append_sync(created)
    assert created.sha256 == key_sha256(secret)
    store.close()
    everything = b"".join(path.read_bytes() for path in store.home.root.rglob("*") if path.is_file())
    everything += repr(backend.contents()).encode()
    assert created.sha256.encode() in everything
    assert secret.encode() not in everything


def test_a_strangers_key_opens_nothing(store: Store) -> None:
    ring = KeyRing.of(store)
    for shown in ("", "hf-", create_key(World(), name="other")[0], "ü"):
        with pytest.raises(AuthenticationRequired):
            ring.authenticate(shown)


def test_the_number_of_remembered_keys_is_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_keys, "MAX_CACHED_KEYS", 2)
    ring = KeyRing.of(store)
    for number in range(5):
        secret, created = create_key(World(), name=str(number))
        store.append_sync(created)
        assert ring.authenticate(secret) == created.key_id
    assert len(ring._known) <= 2
