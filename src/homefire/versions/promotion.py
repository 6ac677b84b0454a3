"""Promotion and rollback: what the alias `live` points at, moved in one step and back in the same one.

The order makes it safe: the new model is loaded and ready to answer first, then one event moves the alias
(compare-and-set inside the transaction: two movers cannot both win), then the readable link `models/live`
follows by an atomic rename. A crash between leaves `live` on one model or the other, never on none;
`repair_live_link` at start makes the link follow. Who and why are part of the event. Costs one model load,
one transaction.

A rollback goes one step back in the history of distinct states, the next one a step further; `promote` is how one
goes forward. What was promoted is a new step, also when it is a base or was live before: so a rollback after
`promote ember` goes back to the version that was live before it.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol

from homefire.catalog.models import ModelInfo, Resolved
from homefire.errors import Conflict, ModelNotFound, NotFound
from homefire.home import Home
from homefire.store.durable import move_aside, translated_os_errors
from homefire.store.nouns.aliases import AliasMoved, AliasRow
from homefire.store.store import Store
from homefire.world import World

LIVE = "live"
logger = logging.getLogger(__name__)


class Models(Protocol):
    """What is needed of the catalog."""

    def resolve(self, name: str) -> Resolved:
        """Raises ModelNotFound."""
        ...


class Promotion:
    """Moves `live`. Moves are serialised."""

    def __init__(
        self,
        *,
        home: Home,
        store: Store,
        catalog: Models,
        swap_to: Callable[[ModelInfo], Awaitable[object]],
        world: World,
    ) -> None:
        """`swap_to` makes a model ready to answer and returns when it is; it must not fail half-way."""
        self._home, self._store, self._catalog, self._world = home, store, catalog, world
        self._swap_to = swap_to
        self._lock = asyncio.Lock()

    async def promote(self, version: str, *, who: str, why: str, override: bool = False) -> AliasRow:
        """Make `live` this version (or a base, which needs no gate).

        Raises ModelNotFound; Conflict when the gate refused or never judged it and `override` is not set. An
        override needs a reason and is recorded with it. Promoting what is live changes nothing.
        """
        row = self._store.versions.get(version)
        if row is None or row.removed_at_s is not None:
            if self._store.models.get(version) is not None:
                return await self._move(version, who=who, why=why)
            raise ModelNotFound(f"There is no version {version}.", name=version)
        if row.gate_passed is not True:
            if not override:
                raise _refused(version, judged=row.gate_passed is not None, reasons=row.gate_reasons)
            if not why.strip():
                raise Conflict("An override of the gate needs a reason.", hint="Say why.", version=version)
            why = f"gate overridden: {why}"
        return await self._move(version, who=who, why=why)

    async def rollback(self, *, who: str, why: str, to: str | None = None) -> AliasRow:
        """Make `live` what it was before, or `to`: a base, or a version that passed or was live once.

        With `to`, the steps after its last time as `live` are left behind; what never was live becomes a new
        step. Raises Conflict when there is nothing to go back to or `to` never was fit to be live.
        """
        target = to if to is not None else self._previous()
        if self._store.aliases.get(target) is not None:
            raise Conflict(
                f"{target} is an alias; `live` points to a base or a version.",
                hint="Name the base or the version itself.",
                name=target,
            )
        row = self._store.versions.get(target)
        if row is not None and row.gate_passed is not True and target not in self._lived():
            raise _refused(target, judged=row.gate_passed is not None, reasons=row.gate_reasons)
        return await self._move(target, who=who, why=why, is_rollback=True)

    def previous(self) -> str | None:
        """What a rollback would go to; None when there is nothing before."""
        stack = self._stack()
        return stack[-2] if len(stack) > 1 else None

    def repair_live_link(self) -> None:
        """Make `models/live` point at the folder of what `live` means, if it does not (after a crash)."""
        if self._store.aliases.get(LIVE) is not None:
            self._link(self._catalog.resolve(LIVE).model.folder)

    async def _move(self, target: str, *, who: str, why: str, is_rollback: bool = False) -> AliasRow:
        async with self._lock:
            current = self._store.aliases.get(LIVE)
            model = self._catalog.resolve(target).model
            if current is None or current.target != target:
                await self._swap_to(model)
                await self._store.append(
                    AliasMoved(
                        alias=LIVE,
                        target=target,
                        previous=current.target if current is not None else None,
                        who=who,
                        why=why,
                        is_rollback=is_rollback,
                    )
                )
            self._link(model.folder)
            moved = self._store.aliases.get(LIVE)
        if moved is None:
            raise NotFound("The alias live points at nothing.", name=LIVE)
        return moved

    def _previous(self) -> str:
        previous = self.previous()
        if previous is None:
            others = [move.target for move in reversed(self._moves()) if self._is_there(move.target)]
            live = self._store.aliases.get(LIVE)
            later = next((name for name in others if live is None or name != live.target), None)
            if later is None:
                raise Conflict("There is nothing to go back to: live never was anything else.")
            raise Conflict(
                f"There is nothing further back than {live.target if live is not None else 'this'}.",
                hint=f"`homefire versions promote {later}` goes forward again.",
                name=later,
            )
        return previous

    def _stack(self) -> list[str]:
        """The steps that led to what is live, the newest last; no two neighbours are the same."""
        stack: list[str] = []
        for move in self._moves():
            if move.is_rollback and move.target in stack:
                del stack[len(stack) - stack[::-1].index(move.target) :]
            else:
                stack.append(move.target)
        there = [name for name in stack if self._is_there(name)]
        return [name for place, name in enumerate(there) if place == 0 or there[place - 1] != name]

    def _lived(self) -> set[str]:
        return {move.target for move in self._moves()}

    def _moves(self) -> list[AliasRow]:
        return sorted(self._store.aliases.history(LIVE), key=lambda move: move.seq)

    def _is_there(self, name: str) -> bool:
        try:
            self._catalog.resolve(name)
        except NotFound:
            return False
        return True

    def _link(self, folder: Path) -> None:
        """Point the readable link at the folder, relative where both are in the home.

        What somebody put in its place is nobody's to delete: it is moved aside.
        """
        link, root = self._home.live_link, self._home.root
        target = os.path.relpath(folder, link.parent) if folder.is_relative_to(root) else str(folder)
        if link.is_symlink() and str(link.readlink()) == target:
            return
        aside = link.with_name(f".{link.name}.{self._world.random_bytes(6).hex()}.tmp")
        with translated_os_errors(link):
            if link.exists() and not link.is_symlink():
                logger.warning("%s was not a link; it is now %s", link, move_aside(link, self._world).name)
            aside.symlink_to(target)
            self._world.files.replace(aside, link)
            self._world.files.fsync_directory(link.parent)


def _refused(version: str, *, judged: bool, reasons: tuple[str, ...]) -> Conflict:
    if not judged:
        return Conflict(
            f"The gate has not judged {version}, so it cannot become live.",
            hint="Wait for its gate, or override it with a reason.",
            version=version,
        )
    return Conflict(
        f"{version} did not pass its gate: {' '.join(reasons)}",
        hint="Override the gate with a reason if you want it anyway.",
        version=version,
        reasons=list(reasons),
    )
