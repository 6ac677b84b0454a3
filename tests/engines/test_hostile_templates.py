"""A chat template that was made to do harm costs its own request, and never the server or the machine."""

from __future__ import annotations

import functools
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from homefire.catalog.convert import convert
from homefire.engines import llama, process
from homefire.engines.process import LlamaCppEngine
from homefire.errors import BadModel, EngineCrashed
from homefire.types import Message
from homefire.world import World
from tests.engines.support import QUICK, asking, collect, ember_folder, spec_for

ENDLESS_LOOP = (
    "{% if messages[0].content == 'Go' %}"
    "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}"
    "{% endfor %}{% endfor %}{% endfor %}{% endif %}<|im_start|>user\n{{ messages[0].content }}<|im_end|>\n"
    "<|im_start|>assistant\n"
)
ONE_LONG_CALL = (
    "{% if messages[0].content == 'Go' %}{{ (messages|length + 9) ** 1000000000 }}{% endif %}Hello"
)
GROWING = (
    "{% if messages[0].content == 'Go' %}{% set ns = namespace(x='x') %}"
    "{% for i in range(50) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}{% endif %}Hello"
)
FOLDED_CONSTANT = "{{ 10 ** 1000000000 }}"

Make = Callable[[str], LlamaCppEngine]


@pytest.fixture
async def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Make]:
    """An engine of ember with another template, whose worker is hasty."""
    engines = []
    hasty = functools.partial(_spawn_hasty, process.spawn_worker)
    monkeypatch.setattr(process, "spawn_worker", hasty)

    def build(template: str) -> LlamaCppEngine:
        folder = Path(shutil.copytree(ember_folder(), tmp_path / "model"))
        (folder / "chat_template.jinja").write_text(template)
        convert(folder, tmp_path / "model.gguf", dtype="f16")
        engines.append(
            LlamaCppEngine(spec_for(tmp_path / "model.gguf"), sockets=tmp_path, settings=QUICK, world=World())
        )
        return engines[-1]

    yield build
    for engine in engines:
        await engine.stop()


async def _spawn_hasty(spawn: Callable[..., object], *arguments: object, **options: object) -> object:
    return await spawn(*arguments, **{**options, "module": "tests.engines.hasty_worker"})  # type: ignore[misc]


@pytest.mark.parametrize("template", [ENDLESS_LOOP, ONE_LONG_CALL], ids=["loop", "one call"])
async def test_a_template_without_an_end_is_the_models_error_and_the_next_request_is_answered(
    make: Make, template: str
) -> None:
    engine = make(template)
    assert (await collect(engine, asking("Hello", max_tokens=2))).finish
    with pytest.raises(BadModel, match="did not come to an end"):
        await collect(engine, asking("Go"))
    with pytest.raises(BadModel, match="did not come to an end"):
        await engine.count_tokens((Message("user", "Go"),))
    assert (await collect(engine, asking("Hello", max_tokens=2))).finish


async def test_a_template_that_takes_all_memory_fails_its_request_alone(make: Make) -> None:
    engine = make(GROWING)
    with pytest.raises(BadModel, match="memory"):
        await collect(engine, asking("Go"))
    first = engine.status().pid
    assert (await collect(engine, asking("Hello", max_tokens=2))).finish
    assert engine.status().pid == first


async def test_a_constant_that_is_folded_for_ever_fails_the_load(make: Make) -> None:
    with pytest.raises(BadModel, match="did not come to an end"):
        await make(FOLDED_CONSTANT).ensure_ready()


async def test_planted_bug_without_the_alarm_nobody_learns_why(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error is made of how the worker ended: another signal is not taken for it."""
    monkeypatch.setattr("homefire.engines.worker_process.signal.SIGALRM", 64)
    with pytest.raises(EngineCrashed):
        await make(FOLDED_CONSTANT).ensure_ready()


def test_the_time_and_the_memory_are_those_that_are_promised() -> None:
    assert (llama.TEMPLATE_TIMEOUT_S, llama.TEMPLATE_MEMORY_BYTES) == (10.0, 1 << 30)
