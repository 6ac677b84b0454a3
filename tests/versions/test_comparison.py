"""What differs between two versions, or a version and its base, is told whole and in an order people expect."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest

from homefire.errors import ModelNotFound
from homefire.store.nouns.versions import GateJudged
from homefire.store.store import Store
from homefire.versions.comparison import LayerChange, compare, layer_of
from homefire.versions.library import Library
from homefire.versions.manifest import BaseEntry, Lineage
from tests.support.small_models import SmallCatalog, floats, write_model, write_safetensors


async def publish(
    library: Library,
    folder: Path,
    *,
    kind: Literal["full", "adapter"] = "full",
    examples: tuple[str, ...] = (),
    metrics: dict[str, Any] | None = None,
) -> None:
    await library.publish(
        folder,
        kind=kind,
        base=BaseEntry(name="small", digest="sha256:00"),
        parent="small",
        lineage=Lineage(run_id=None, example_ids=examples),
        description="corrections",
        metrics=metrics or {},
    )


async def test_a_version_is_compared_with_a_base_by_its_file(
    library: Library, store: Store, tmp_path: Path
) -> None:
    SmallCatalog(store).add_base("small", write_model(tmp_path / "base", {}))
    await publish(library, write_model(tmp_path / "one", {"a": "b"}, layer=9.0))
    found = await compare(library, store, a="small", b="v001")
    assert (found.a, found.b, found.num_tensors, found.num_changed) == ("small", "v001", 3, 1)
    assert found.layers == (
        LayerChange(layer="layer 0", num_tensors=1, num_changed=1),
        LayerChange(layer="layer 1", num_tensors=1, num_changed=0),
        LayerChange(layer="embed_tokens", num_tensors=1, num_changed=0),
    )
    for names in (("nothing", "v001"), ("v001", "nothing")):
        with pytest.raises(ModelNotFound, match="nothing"):
            await compare(library, store, a=names[0], b=names[1])


async def test_an_adapter_has_the_tensors_of_its_base_as_well(
    library: Library, store: Store, tmp_path: Path
) -> None:
    SmallCatalog(store).add_base("small", write_model(tmp_path / "base", {}))
    folder = write_model(tmp_path / "one", {"a": "b"})
    write_safetensors(folder / "model.safetensors", {"layers.1.lora_a.weight": ("F32", (1,), floats(2.0))})
    await publish(library, folder, kind="adapter")
    found = await compare(library, store, a="small", b="v001")
    assert (found.num_tensors, found.num_changed) == (4, 1)


async def test_figures_and_examples_are_told_of_both_sides(
    library: Library, store: Store, tmp_path: Path
) -> None:
    await publish(library, write_model(tmp_path / "one", {}), examples=("x", "z", "y"), metrics={"loss": 0.5})
    await publish(library, write_model(tmp_path / "two", {}), examples=("x", "w"), metrics={"steps": 7})
    scores = {"target_score": 1.0, "num_lost": 2, "skills": {"add": {"now": 3}}, "corrections": {"x": {}}}
    await store.append(GateJudged(version="v002", run_id=None, passed=True, reasons=(), scores=scores))
    found = await compare(library, store, a="v001", b="v002")
    assert found.metrics == {"loss": (0.5, None), "steps": (None, 7)}
    assert found.scores == {"num_lost": (None, 2), "target_score": (None, 1.0)}
    assert found.skills == {"add": (None, {"now": 3})}
    assert (found.examples_only_in_a, found.examples_only_in_b) == (("y", "z"), ("w",))


def test_layers_are_named_for_people() -> None:
    assert layer_of("model.layers.11.mlp.up_proj.weight") == "layer 11"
    assert layer_of("lm_head.weight") == "lm_head"
    assert layer_of("weight") == "weight"


async def test_layers_are_in_the_order_of_their_numbers(
    library: Library, store: Store, tmp_path: Path
) -> None:
    folder = write_model(tmp_path / "one", {})
    names = [f"model.layers.{number}.weight" for number in (10, 9, 1)]
    write_safetensors(folder / "model.safetensors", {name: ("F32", (1,), floats(1.0)) for name in names})
    await publish(library, folder)
    found = await compare(library, store, a="v001", b="v001")
    assert [change.layer for change in found.layers] == ["layer 1", "layer 9", "layer 10"]
