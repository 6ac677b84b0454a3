"""Names lead to models, and models to files that are what they were when they were added."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from homefire.catalog import importing
from homefire.catalog.catalog import Catalog
from homefire.catalog.convert import convert
from homefire.engines.base import GgufSource, ModelSpec
from homefire.errors import BadModel, Conflict, CorruptData, InvalidRequest, ModelNotFound
from homefire.home import Home
from homefire.store.nouns.aliases import AliasMoved
from homefire.store.nouns.datasets import DatasetCreated
from homefire.store.nouns.runs import RunMoved, RunQueued
from homefire.store.nouns.versions import VersionRemoved
from homefire.store.store import Store
from tests.store.samples import version


def flip_a_bit(path: Path, *, place: int = -100) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


async def test_the_first_start_gives_ember_its_names(catalog: Catalog, home: Home, store: Store) -> None:
    await catalog.ensure_bundled()
    await catalog.ensure_bundled()
    resolved = catalog.resolve("default")
    assert resolved.chain == ("default", "live", "ember")
    assert (resolved.model.name, resolved.model.kind, resolved.model.trainable) == ("ember", "base", True)
    assert resolved.model.folder == home.base_models / "ember"
    assert [(model.name, model.kind) for model in catalog.list()] == [
        ("default", "alias"),
        ("live", "alias"),
        ("ember", "base"),
    ]
    assert len(store.models.list()) == 1


async def test_an_unknown_name_suggests_the_nearest(catalog: Catalog) -> None:
    await catalog.ensure_bundled()
    with pytest.raises(ModelNotFound) as caught:
        catalog.resolve("embers")
    assert caught.value.details["nearest"] == ["ember"]


def gguf_of(spec: ModelSpec) -> Path:
    assert isinstance(spec.source, GgufSource)
    return Path(spec.source.path)


async def test_files_are_converted_once_and_read_from_the_cache_after(catalog: Catalog, home: Home) -> None:
    await catalog.ensure_bundled()
    model = catalog.resolve("default").model
    first, second = await asyncio.gather(catalog.spec(model), catalog.spec(model, nice=5))
    assert first.source == second.source
    assert (first.nice, second.nice) == (0, 5)
    path = gguf_of(first)
    assert path.parent == home.cache / "gguf"
    made_ns = path.stat().st_mtime_ns
    assert (await catalog.spec(model)).source == first.source
    assert path.stat().st_mtime_ns == made_ns
    assert names_in(path.parent) == {path.name, f"{path.name}.sha256"}


@pytest.mark.parametrize("harm", ["flip", "remove hash", "remove file"])
async def test_a_damaged_cache_is_made_again(catalog: Catalog, harm: str) -> None:
    await catalog.ensure_bundled()
    model = catalog.resolve("ember").model
    spec = await catalog.spec(model)
    path = gguf_of(spec)
    before = path.read_bytes()
    if harm == "flip":
        flip_a_bit(path)
    else:
        (path.with_name(path.name + ".sha256") if harm == "remove hash" else path).unlink()
    assert (await catalog.spec(model)).source == spec.source
    assert path.read_bytes() == before


async def test_a_flipped_bit_of_a_source_is_noticed_before_use(catalog: Catalog, home: Home) -> None:
    await catalog.ensure_bundled()
    model = catalog.resolve("ember").model
    await catalog.spec(model)
    flip_a_bit(model.folder / "model.safetensors")
    with pytest.raises(CorruptData, match=r"model\.safetensors"):
        await catalog.spec(model)
    assert await catalog.verify("ember") == ["model.safetensors is not what was registered."]


async def test_without_the_check_the_flipped_bit_would_be_served(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    await catalog.ensure_bundled()
    model = catalog.resolve("ember").model
    flip_a_bit(model.folder / "model.safetensors")
    monkeypatch.setattr("homefire.catalog.sources.find_damage", lambda *_, **__: [])
    assert (await catalog.spec(model)).source


async def test_a_folder_and_a_gguf_file_can_be_added(
    catalog: Catalog, home: Home, ember_copy: Path, tmp_path: Path
) -> None:
    added = await catalog.add(ember_copy)
    assert (added.name, added.format, added.trainable) == ("my-ember", "safetensors", True)
    convert(ember_copy, tmp_path / "Small.GGUF.gguf", dtype="q8_0")
    gguf = await catalog.add(tmp_path / "Small.GGUF.gguf", name="small")
    assert (gguf.format, gguf.trainable) == ("gguf", False)
    assert gguf_of(await catalog.spec(gguf)) == home.base_models / "small" / "Small.GGUF.gguf"
    template = await catalog.chat_template(gguf)
    assert "<|im_start|>" in template.source
    assert template.eos_token == (await catalog.chat_template(added)).eos_token == "<|im_end|>"


async def test_a_copy_is_independent_of_its_original(catalog: Catalog, ember_copy: Path) -> None:
    model = await catalog.add(ember_copy, name="mine")
    flip_a_bit(ember_copy / "model.safetensors")
    assert await catalog.verify("mine") == []
    assert (model.folder / "model.safetensors").stat().st_ino != (
        ember_copy / "model.safetensors"
    ).stat().st_ino


async def test_in_place_uses_the_original_and_notices_its_change(
    catalog: Catalog, home: Home, ember_copy: Path
) -> None:
    model = await catalog.add(ember_copy, name="mine", in_place=True)
    assert model.folder == ember_copy
    assert names_in(home.base_models) == set()
    flip_a_bit(ember_copy / "model.safetensors")
    with pytest.raises(CorruptData):
        await catalog.spec(model)
    await catalog.remove("mine")
    assert (ember_copy / "model.safetensors").exists()


async def test_what_was_written_badly_is_not_registered(
    catalog: Catalog, home: Home, ember_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = importing.copy_file

    def copy_badly(source: Path, target: Path) -> None:
        honest(source, target)
        if target.name == "model.safetensors":
            flip_a_bit(target)

    monkeypatch.setattr(importing, "copy_file", copy_badly)
    with pytest.raises(CorruptData):
        await catalog.add(ember_copy, name="mine")
    assert names_in(home.base_models) == set()
    with pytest.raises(ModelNotFound):
        catalog.resolve("mine")


@pytest.mark.parametrize("name", ["", "v7", "live", "default", "UPPER", "a/b", "../x", "x" * 65, ".hidden"])
async def test_names_that_mean_something_else_are_refused(
    catalog: Catalog, ember_copy: Path, name: str
) -> None:
    with pytest.raises(InvalidRequest):
        await catalog.add(ember_copy, name=name)


async def test_a_name_is_given_once(catalog: Catalog, ember_copy: Path) -> None:
    await catalog.add(ember_copy, name="mine")
    with pytest.raises(Conflict):
        await catalog.add(ember_copy, name="mine")


async def test_what_is_needed_is_not_removed(catalog: Catalog, home: Home, store: Store) -> None:
    await catalog.ensure_bundled()
    with pytest.raises(Conflict, match="live"):
        await catalog.remove("ember")
    assert (home.base_models / "ember" / "model.safetensors").exists()
    with pytest.raises(ModelNotFound):
        await catalog.remove("live")


async def test_a_removed_model_leaves_nothing(catalog: Catalog, home: Home, ember_copy: Path) -> None:
    await catalog.add(ember_copy, name="mine")
    await catalog.remove("mine")
    assert names_in(home.base_models) == set()
    with pytest.raises(ModelNotFound):
        catalog.resolve("mine")


async def test_what_was_made_of_a_model_goes_with_its_last_name(
    catalog: Catalog, home: Home, ember_copy: Path
) -> None:
    for name in ("mine", "again"):
        await catalog.add(ember_copy, name=name)
    await catalog.spec(catalog.resolve("mine").model)
    assert len(names_in(home.cache / "gguf")) == 2  # the file and its hash
    await catalog.remove("mine")
    assert len(names_in(home.cache / "gguf")) == 2
    await catalog.remove("again")
    assert names_in(home.cache / "gguf") == set()


async def test_a_base_that_a_run_starts_from_stays(catalog: Catalog, ember_copy: Path, store: Store) -> None:
    await catalog.add(ember_copy, name="mine")
    await store.append(
        DatasetCreated(dataset_id="d", name="d", example_ids=()),
        RunQueued(run_id="run_1", dataset_id="d", base="mine", parent="mine", recipe={}, priority="normal"),
    )
    with pytest.raises(Conflict, match="run_1"):
        await catalog.remove("mine")
    await store.append(RunMoved(run_id="run_1", state="skipped", epoch=0, who="me", why="x"))
    await catalog.remove("mine")


async def test_a_base_stays_while_a_version_rests_on_it_however_far_away(
    catalog: Catalog, ember_copy: Path, store: Store
) -> None:
    await catalog.add(ember_copy, name="mine")
    first = msgspec.structs.replace(version("v001"), base="mine", parent="mine")
    second = msgspec.structs.replace(version("v002"), base="mine", parent="v001")
    await store.append(first, second, VersionRemoved(version="v001", who="me", why="x"))
    with pytest.raises(Conflict, match="v002"):
        await catalog.remove("mine")
    await store.append(VersionRemoved(version="v002", who="me", why="x"))
    await catalog.remove("mine")


async def test_a_base_stays_while_a_run_rests_on_it_that_starts_from_a_version(
    catalog: Catalog, ember_copy: Path, store: Store
) -> None:
    await catalog.add(ember_copy, name="mine")
    await store.append(
        DatasetCreated(dataset_id="d", name="d", example_ids=()),
        RunQueued(run_id="run_1", dataset_id="d", base="mine", parent="v001", recipe={}),
    )
    with pytest.raises(Conflict, match="run_1"):
        await catalog.remove("mine")


async def test_a_broken_model_cannot_be_added(catalog: Catalog, home: Home, ember_copy: Path) -> None:
    (ember_copy / "tokenizer.json").unlink()
    with pytest.raises(BadModel, match=r"tokenizer\.json"):
        await catalog.add(ember_copy, name="mine")
    assert names_in(home.base_models) == set()


async def test_aliases_of_aliases_are_followed(catalog: Catalog, store: Store) -> None:
    await catalog.ensure_bundled()
    await store.append(AliasMoved(alias="fast", target="default", previous=None, who="me", why="test"))
    assert catalog.resolve("fast").chain == ("fast", "default", "live", "ember")
