"""What a name means is kept in memory, and never for longer than it is true."""

from __future__ import annotations

import msgspec
import pytest

from homefire.catalog.catalog import Catalog
from homefire.errors import ModelNotFound
from homefire.store.nouns.models import ModelRemoved
from homefire.store.nouns.versions import VersionRemoved
from homefire.store.store import Store
from tests.store.samples import alias, model, version


def target(catalog: Catalog, name: str) -> str | None:
    """The folder that a name leads to; None: nowhere."""
    try:
        return str(catalog.resolve(name).model.folder)
    except ModelNotFound:
        return None


def changes_seen(catalog: Catalog, store: Store) -> dict[str, list[str | None]]:
    """What each name leads to, asked before and after each event that changes it."""
    store.append_sync(
        model("ember", path="models/ember"), model("coal", digest="sha256:cc", path="models/coal")
    )
    seen: dict[str, list[str | None]] = {"fast": [], "v001": [], "mine": []}
    events = [
        alias("fast", "ember"),
        alias("fast", "coal", "ember"),
        model("mine", digest="sha256:dd", path="models/mine"),
        model("mine", digest="sha256:dd", path="models/moved"),
        ModelRemoved(name="mine"),
        version("v001"),
        VersionRemoved(version="v001", who="test", why="test"),
    ]
    for event in (None, *events):
        if event is not None:
            store.append_sync(event)
        for name, found in seen.items():
            place = target(catalog, name)
            if not found or found[-1] != place:
                found.append(place)
    root = f"{store.home.root}/"
    return {name: [place and place.removeprefix(root) for place in found] for name, found in seen.items()}


EXPECTED = {
    "fast": [None, "models/ember", "models/coal"],
    "mine": [None, "models/mine", "models/moved", None],
    "v001": [None, "models/versions/v001", None],
}


def test_a_name_means_what_was_recorded_last(catalog: Catalog, store: Store) -> None:
    assert changes_seen(catalog, store) == EXPECTED


def test_planted_bug_names_that_are_kept_for_ever_are_noticed(
    catalog: Catalog, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Store, "last_seq_of", lambda self, kinds: 0)
    assert changes_seen(catalog, store)["fast"] == [None, "models/ember"]


def test_a_known_name_is_not_read_again(
    catalog: Catalog, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.append_sync(model("ember"), alias("fast", "ember"))
    first = catalog.resolve("fast")
    monkeypatch.setattr(store, "aliases", None)
    assert catalog.resolve("fast") is first


def test_a_version_whose_manifest_is_lost_is_looked_at_again(catalog: Catalog, store: Store) -> None:
    content = {"version": "v001", "created_at": "2026-11-21T10:00:00+00:00", "kind": "full", "files": {}}
    manifest = msgspec.json.encode(content)
    name = store.blobs.put_bytes(manifest)
    store.append_sync(model("ember"), version("v001", manifest_sha256=name))
    store.blobs.path(name).unlink()
    assert str(target(catalog, "v001")).endswith("versions/v001")
    store.blobs.put_bytes(manifest)
    assert str(target(catalog, "v001")).endswith("versions/v001-20261121-100000")
    assert catalog.resolve("v001") is catalog.resolve("v001")
