"""Room that is kept on the disk for what helps to clean up."""

from __future__ import annotations

from pathlib import Path

from homefire.store.failures import disk_full
from homefire.store.nouns.aliases import AliasMoved
from homefire.store.nouns.conversations import TurnEnded
from homefire.store.nouns.erasures import BodiesErased
from homefire.store.nouns.examples import CorrectionWithdrawn
from homefire.store.nouns.keys import KeyRevoked
from homefire.store.nouns.models import ModelRemoved
from homefire.store.nouns.runs import RunMoved
from homefire.store.nouns.versions import VersionRemoved
from homefire.store.waiting import Append
from homefire.world import Files

ADMITTED_INTO_RESERVE = (
    AliasMoved,
    BodiesErased,
    CorrectionWithdrawn,
    KeyRevoked,
    ModelRemoved,
    RunMoved,
    TurnEnded,
    VersionRemoved,
)
"""Small events that free space, bring a home to safety, or end what was begun: written until the disk is
truly full."""


def admit(batch: list[Append], *, files: Files, root: Path, reserve_bytes: int) -> list[Append]:
    """The appends there is room for below `root`; the others get StoreFull. One look at the file system."""
    free_bytes = files.free_bytes(root)
    if free_bytes >= reserve_bytes:
        return batch
    admitted = []
    for append in batch:
        if all(isinstance(event, ADMITTED_INTO_RESERVE) for event in append.events):
            admitted.append(append)
        else:
            append.outcome = disk_full(free_bytes=free_bytes, reserve_bytes=reserve_bytes)
    return admitted
