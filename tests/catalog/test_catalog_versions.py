"""Versions in the catalog: whole ones and adapters, served from verified files."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from homefire.catalog.catalog import Catalog
from homefire.config.schema import Settings
from homefire.engines.base import GgufSource
from homefire.engines.process import LlamaCppEngine
from homefire.errors import CorruptData
from homefire.home import Home
from homefire.store.store import Store
from homefire.versions.library import Library
from homefire.versions.manifest import BaseEntry, Lineage
from homefire.world import World
from tests.catalog.test_adapter_parity import make_adapter
from tests.catalog.test_catalog import flip_a_bit
from tests.engines.support import QUICK, asking, collect, ember_folder


async def publish(
    catalog: Catalog, home: Home, store: Store, folder: Path, *, is_adapter: bool = False
) -> str:
    await catalog.ensure_bundled()
    base = catalog.resolve("ember").model
    row = await Library(home, store, World()).publish(
        folder,
        kind="adapter" if is_adapter else "full",
        base=BaseEntry(name="ember", digest=base.digest),
        parent="ember",
        lineage=Lineage(),
    )
    return row.version


async def test_a_version_is_a_model_like_any_other(catalog: Catalog, home: Home, store: Store) -> None:
    version = await publish(catalog, home, store, ember_folder())
    model = catalog.resolve(version).model
    assert (model.kind, model.base, model.parent, model.trainable) == ("version", "ember", "ember", True)
    assert (model.folder / "model.safetensors").exists()
    assert (await catalog.spec(model)).name == version
    assert (await catalog.chat_template(model)).fingerprint == (
        await catalog.chat_template(catalog.resolve("ember").model)
    ).fingerprint
    assert [item.name for item in catalog.list()] == ["default", "live", "ember", version]


async def test_a_flipped_bit_of_a_version_is_noticed_before_use(
    catalog: Catalog, home: Home, store: Store
) -> None:
    version = await publish(catalog, home, store, ember_folder())
    model = catalog.resolve(version).model
    flip_a_bit(model.folder / "model.safetensors")
    with pytest.raises(CorruptData):
        await catalog.spec(model)


async def test_a_lost_manifest_hides_no_other_model(catalog: Catalog, home: Home, store: Store) -> None:
    version = await publish(catalog, home, store, ember_folder())
    row = store.versions.get(version)
    assert row is not None
    blob = store.blobs.path(row.manifest_sha256)
    blob.chmod(0o600)
    flip_a_bit(blob, place=5)
    fresh = Catalog(home, store, Settings())
    model = fresh.resolve(version).model
    assert (model.folder / "manifest.json").exists(), "the folder's own copy serves"
    shutil.rmtree(model.folder)
    broken = Catalog(home, store, Settings())
    assert {item.name for item in broken.list()} == {"default", "live", "ember", version}
    with pytest.raises(CorruptData):
        await broken.spec(broken.resolve(version).model)


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")
async def test_an_adapter_version_is_served_beside_its_base(
    catalog: Catalog, home: Home, store: Store, tmp_path: Path
) -> None:
    make_adapter(ember_folder(), tmp_path / "adapter", lora_alpha=64)
    version = await publish(catalog, home, store, tmp_path / "adapter", is_adapter=True)
    base, model = catalog.resolve("ember").model, catalog.resolve(version).model
    spec, base_spec = await catalog.spec(model), await catalog.spec(base)
    assert isinstance(spec.source, GgufSource)
    assert isinstance(base_spec.source, GgufSource)
    assert spec.source.path == base_spec.source.path
    assert len(spec.source.adapters) == 1
    assert (await catalog.chat_template(model)).fingerprint == (await catalog.chat_template(base)).fingerprint
    engine = LlamaCppEngine(spec, sockets=home.sockets, settings=QUICK, world=World())
    plain = LlamaCppEngine(base_spec, sockets=home.sockets, settings=QUICK, world=World())
    try:
        adapted = await collect(engine, asking(max_tokens=20))
        assert adapted.text != (await collect(plain, asking(max_tokens=20))).text
    finally:
        await engine.stop()
        await plain.stop()
