"""Models and engines without files, for tests of serving."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from homefire.catalog.models import Resolved
from homefire.config.schema import Settings
from homefire.engines.base import ModelSpec
from homefire.errors import ModelNotFound
from tests.support.model_info import model_info
from tests.support.scripted_engine import ScriptedEngine, scripted_spec


@dataclass
class Stable:
    """Prepares and makes scripted engines, and remembers every one it made."""

    make: Callable[[ModelSpec], ScriptedEngine] = ScriptedEngine
    engines: list[ScriptedEngine] = field(default_factory=list)
    num_prepared: int = 0
    num_parallel: int = 4
    context_length: int = 1024

    async def spec(self, model: Any) -> ModelSpec:
        self.num_prepared += 1
        return scripted_spec(model.name, context_length=self.context_length, num_parallel=self.num_parallel)

    def make_engine(self, spec: ModelSpec) -> ScriptedEngine:
        engine = self.make(spec)
        self.engines.append(engine)
        return engine

    def of(self, name: str) -> list[ScriptedEngine]:
        return [engine for engine in self.engines if engine.spec.name == name]

    @property
    def loaded(self) -> list[str]:
        return sorted(engine.spec.name for engine in self.engines if engine.status().state == "ready")


async def until(condition: Callable[[], bool]) -> None:
    """Let others run until this is so."""
    for _ in range(100_000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came to be so")


async def settle(num_rounds: int = 50) -> None:
    """Let every task run until it waits for something that has not happened."""
    for _ in range(num_rounds):
        await asyncio.sleep(0)


class FakeCatalog(Stable):
    """A stable with an alias table."""

    def __init__(self, *names: str, aliases: dict[str, str] | None = None, **rest: Any) -> None:
        super().__init__(**rest)
        self.models = {name: model_info(name, digest=f"sha256:{name}") for name in names or ("ember",)}
        self.aliases = (
            aliases if aliases is not None else {"live": next(iter(self.models)), "default": "live"}
        )

    def resolve(self, name: str) -> Resolved:
        chain = [name]
        while chain[-1] in self.aliases:
            chain.append(self.aliases[chain[-1]])
        if chain[-1] not in self.models:
            raise ModelNotFound(f"There is no model {name!r}.", nearest=next(iter(self.models)))
        return Resolved(name, tuple(chain), self.models[chain[-1]])


def settings(**sections: dict[str, Any]) -> Settings:
    """`settings(serving={"max_models": 1})`"""
    return Settings.model_validate(sections)
