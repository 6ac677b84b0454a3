"""One ember for all tests of engines: converted once, loaded in one worker for each test module."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from homefire.catalog.convert import convert
from homefire.engines.base import ModelSpec
from homefire.engines.process import LlamaCppEngine
from homefire.world import World
from tests.engines.support import QUICK, ember_folder, spec_for


@pytest.fixture(scope="session")
def ember_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled model as GGUF (f16)."""
    target = tmp_path_factory.mktemp("gguf") / "ember.gguf"
    convert(ember_folder(), target, dtype="f16")
    return target


@pytest.fixture
def ember_spec(ember_gguf: Path) -> ModelSpec:
    """What an engine loads for ember; each request holds 1024 tokens."""
    return spec_for(ember_gguf)


@pytest_asyncio.fixture
async def engine(ember_spec: ModelSpec, tmp_path: Path) -> AsyncIterator[LlamaCppEngine]:
    """An engine of its own for a test that hurts it."""
    engine = LlamaCppEngine(ember_spec, sockets=tmp_path, settings=QUICK, world=World())
    yield engine
    await engine.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_engine(
    ember_gguf: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[LlamaCppEngine]:
    """One engine for the tests of a module that only ask it things."""
    engine = LlamaCppEngine(
        spec_for(ember_gguf), sockets=tmp_path_factory.mktemp("run"), settings=QUICK, world=World()
    )
    yield engine
    await engine.stop()
