"""Names lead to models, and models to files that are what they were when they were added."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from homefire.catalog import importing
from homefire.catalog.catalog import Catalog
from homefire.catalog.convert import convert
from homefire.config.schema import Settings
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


async def test_a_flipped_bit_of_a_source_is_noticed_before_use(catalog: Catalog, ember_copy: Path) -> None:
    model = await catalog.add(ember_copy, name="mine")
    await catalog.spec(model)
    flip_a_bit(model.folder / "model.safetensors")
    with pytest.raises(CorruptData, match=r"model\.safetensors") as refused:
        await catalog.spec(model)
    assert "--name mine" in (refused.value.hint or "")
    assert await catalog.verify("mine") == ["model.safetensors is not what was registered."]


async def test_the_damaged_bundled_model_is_made_whole_from_the_installed_one(catalog: Catalog) -> None:
    await catalog.ensure_bundled()
    model = catalog.resolve("ember").model
    flip_a_bit(model.folder / "model.safetensors")
    (model.folder / "config.json").unlink()
    (model.folder / "notes.txt").write_text("mine")
    await catalog.spec(model)
    assert await catalog.verify("ember") == []
    assert (model.folder / "notes.txt").read_text() == "mine"


async def test_another_ember_than_the_registered_one_makes_nothing_whole(
    catalog: Catalog, ember_copy: Path
) -> None:
    (ember_copy / "README.md").write_text("an older one")
    model = await catalog.add(ember_copy, name="ember")
    flip_a_bit(model.folder / "model.safetensors")
    with pytest.raises(CorruptData, match=r"model\.safetensors"):
        await catalog.spec(model)


@pytest.mark.parametrize("harm", ["flip", "folder", "gone", "link"])
async def test_a_damaged_model_is_made_whole_by_adding_it_again(
    catalog: Catalog, ember_copy: Path, store: Store, harm: str
) -> None:
    model = await catalog.add(ember_copy, name="mine")
    weights = model.folder / "model.safetensors"
    if harm == "flip":
        flip_a_bit(weights)
    else:
        weights.unlink()
    if harm == "folder":
        weights.mkdir()
        (weights / "notes.txt").write_text("mine")
    if harm == "link":
        weights.symlink_to("/nowhere")
    num_events = store.last_seq
    again = await catalog.add(ember_copy, name="mine")
    assert again.digest == model.digest
    assert await catalog.verify("mine") == []
    assert store.last_seq == num_events
    if harm == "folder":
        (kept,) = model.folder.glob("model.safetensors.found-*/notes.txt")
        assert kept.read_text() == "mine"
    with pytest.raises(Conflict):
        await catalog.add(ember_copy, name="mine")  # it is whole
    flip_a_bit(weights)
    (ember_copy / "README.md").write_text("another model")
    with pytest.raises(Conflict):
        await catalog.add(ember_copy, name="mine")


@pytest.mark.parametrize("moment", ["copy_file", "replace_directory", "append", "end_import"])
async def test_adding_that_was_killed_leaves_nothing_and_can_be_done_again(
    catalog: Catalog,
    home: Home,
    store: Store,
    ember_copy: Path,
    monkeypatch: pytest.MonkeyPatch,
    moment: str,
) -> None:
    somebodys = home.base_models / "holidays"
    somebodys.mkdir()
    (home.base_models / ".notes").write_text("mine")

    class Killed(BaseException):
        pass

    def killed(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(importing.shutil, "rmtree", lambda *_, **__: None)  # a killed process tidies nothing up
        patch.setattr(Path, "unlink", lambda *_, **__: None)
        place: object = {"append": store, "end_import": "homefire.catalog.catalog"}.get(moment, importing)
        if isinstance(place, str):
            patch.setattr(f"{place}.{moment}", killed)
        else:
            patch.setattr(place, moment, killed)
        with pytest.raises(Killed):
            await catalog.add(ember_copy, name="mine")
    assert len(names_in(home.base_models)) > 2
    again = Catalog(home, store, Settings())
    again.recover()
    is_registered = moment == "end_import"
    assert names_in(home.base_models) == {"holidays", ".notes"} | ({"mine"} if is_registered else set())
    assert again.recover() == []
    if not is_registered:
        await again.add(ember_copy, name="mine")
    assert await again.verify("mine") == []


async def test_a_folder_that_somebody_put_there_is_never_replaced(
    catalog: Catalog, home: Home, ember_copy: Path
) -> None:
    somebodys = home.base_models / "mine"
    somebodys.mkdir()
    (somebodys / "notes.txt").write_text("mine")
    with pytest.raises(Conflict, match="something at"):
        await catalog.add(ember_copy, name="mine")
    assert (somebodys / "notes.txt").read_text() == "mine"
    assert names_in(home.base_models) == {"mine"}


async def test_a_converter_that_was_killed_leaves_nothing(catalog: Catalog, home: Home) -> None:
    await catalog.ensure_bundled()
    spec = await catalog.spec(catalog.resolve("ember").model)
    cache = gguf_of(spec).parent
    (cache / f".{gguf_of(spec).name}.new").write_bytes(b"half")
    (cache / f".{gguf_of(spec).name}.sha256.new").write_bytes(b"half")
    assert len(catalog.recover()) == 2
    assert names_in(cache) == {gguf_of(spec).name, f"{gguf_of(spec).name}.sha256"}


async def test_without_the_check_the_flipped_bit_would_be_served(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch, ember_copy: Path
) -> None:
    model = await catalog.add(ember_copy, name="mine")
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
