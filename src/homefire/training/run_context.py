"""What every lease of a run works with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from homefire.config.schema import TrainingSettings
from homefire.home import Home
from homefire.store.store import Store
from homefire.training.completion import Completion
from homefire.training.memory import TrainingMemory
from homefire.training.preparation import Parents
from homefire.training.progress import Board
from homefire.training.replay import ReplaySource
from homefire.training.warm_trainer import WarmTrainer
from homefire.versions.library import Library
from homefire.versions.promotion import LIVE
from homefire.world import World

if TYPE_CHECKING:
    from homefire.catalog.catalog import Catalog


@dataclass(frozen=True, slots=True)
class RunContext:
    """One for each server."""

    home: Home
    store: Store
    catalog: Catalog
    library: Library
    completion: Completion
    replay_source: ReplaySource
    settings: TrainingSettings
    world: World
    board: Board
    command: Sequence[str]
    warm: WarmTrainer
    memory: TrainingMemory

    def live_parents(self) -> Parents:
        """What a run that starts now would start from. Raises ModelNotFound."""
        return self.parents_of(LIVE)

    def parents_of(self, name: str) -> Parents:
        """A model as what a run starts from. Raises ModelNotFound."""
        parent = self.catalog.resolve(name).model
        is_base = parent.kind == "base" or parent.base is None
        return Parents(
            parent=parent, base=parent if is_base else self.catalog.resolve(parent.base or "").model
        )
