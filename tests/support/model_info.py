"""A model as the catalog describes one, for tests that have no files for it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from homefire.catalog.models import ModelInfo

_EMBER = ModelInfo(
    name="ember",
    kind="base",
    target=None,
    format="safetensors",
    engine="scripted",
    num_parallel=4,
    folder=Path("/nonexistent/model"),
    digest="sha256:" + "0" * 64,
    base=None,
    parent=None,
    architecture="Qwen3ForCausalLM",
    num_parameters=370_000,
    size_bytes=1_500_000,
    context_length=1024,
    why_not_trainable=None,
    created_at_s=1_700_000_000.0,
)


def model_info(name: str = "ember", **changes: Any) -> ModelInfo:
    """A base model of this name, with `changes` to its fields."""
    return replace(_EMBER, name=name, **changes)
