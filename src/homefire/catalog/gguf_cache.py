"""GGUF files made from safetensors models, kept in the cache and made again when they are gone or bad.

One child process converts at a time for each target, however many wait for it (`convert`, `convert_adapter`).
What the cache gives out is a path and the hash that the file has: it was verified (`machine/hashing.py`), and a
damaged one is made again instead of failing a load.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import secrets
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from homefire import errors
from homefire.config.secrets import without_secrets
from homefire.machine.children import kill_child
from homefire.machine.hashing import FileVerifier

_log = logging.getLogger(__name__)
_HEX_DIGITS = 64


class GgufCache:
    """The folder `cache/gguf`. Belongs to one event loop."""

    def __init__(self, folder: Path, verifier: FileVerifier) -> None:
        self._folder, self._verifier = folder, verifier
        self._making: dict[Path, asyncio.Task[str]] = {}

    async def whole_model(self, source: Path, *, digest: str, dtype: str, nice: int) -> tuple[Path, str]:
        """The GGUF file of a model folder and its SHA-256 in hex."""
        target = self._folder / f"{digest.removeprefix('sha256:')}-{dtype}.gguf"
        arguments = ["homefire.catalog.convert", str(source), str(target), "--dtype", dtype]
        return target, await self._ready(target, [*arguments, "--nice", str(nice)])

    async def adapter(self, source: Path, *, base: Path, digest: str, nice: int) -> tuple[Path, str]:
        """The GGUF file of a LoRA adapter folder and its SHA-256 in hex."""
        target = self._folder / f"{digest.removeprefix('sha256:')}-adapter.gguf"
        arguments = ["homefire.catalog.convert_adapter", str(source), str(base), str(target)]
        return target, await self._ready(target, [*arguments, "--nice", str(nice)])

    def discard_unfinished(self) -> list[str]:
        """Remove what converters left that were killed. Only at the start, when none works."""
        leftovers = sorted(self._folder.glob(".*.gguf*.new"))
        for path in leftovers:
            path.unlink(missing_ok=True)
        return [f"Removed the unfinished {path.name}." for path in leftovers]

    def remove(self, digest: str) -> None:
        """Delete what was made of a model that is gone. An engine that has it open still can read on."""
        for path in self._folder.glob(f"{digest.removeprefix('sha256:')}-*"):
            path.unlink(missing_ok=True)

    async def _ready(self, target: Path, arguments: Sequence[str]) -> str:
        known = await asyncio.to_thread(self._known_hash, target)
        if known is not None:
            return known
        making = self._making.get(target)
        if making is None:
            making = self._making[target] = asyncio.get_running_loop().create_task(
                self._make(target, arguments)
            )
            making.add_done_callback(lambda _: self._making.pop(target))
        return await asyncio.shield(making)

    async def _make(self, target: Path, arguments: Sequence[str]) -> str:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        await asyncio.to_thread(_clear_the_way, target)
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=without_secrets(os.environ),
        )
        try:
            output, complaints = await process.communicate()
        except asyncio.CancelledError:
            kill_child(process)
            await process.communicate()
            raise
        sha256 = _read_outcome(output, complaints, process.returncode)
        self._verifier.note(target, sha256)  # the converter read it back
        return sha256

    def all(self) -> Iterator[tuple[Path, str]]:
        """Every finished file and its hash."""
        for path in sorted(self._folder.glob("*.gguf")):
            stated = stated_hash(path)
            if stated is not None:
                yield path, stated

    def _known_hash(self, target: Path) -> str | None:
        stated = stated_hash(target)
        if stated is not None and not self._verifier.is_sound(target, stated):
            _log.warning("the cached file %s is damaged; it is made again", target.name)
            return None
        return stated

    async def stop(self) -> None:
        """End conversions that are under way."""
        tasks = list(self._making.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _clear_the_way(target: Path) -> None:
    """Folders in the place of the files get another name: a file cannot be renamed to theirs."""
    for path in (target, target.with_name(target.name + ".sha256")):
        if path.is_dir():
            path.rename(path.with_name(f"{path.name}.found-{secrets.token_hex(3)}"))


def stated_hash(target: Path) -> str | None:
    """The hash that was written beside a finished file; None where there is no whole pair of them."""
    hash_path = target.with_name(target.name + ".sha256")
    if not target.is_file() or not hash_path.is_file():
        return None
    stated = hash_path.read_text(encoding="ascii", errors="replace").strip()
    return stated if len(stated) == _HEX_DIGITS else None


def _read_outcome(output: bytes, complaints: bytes, status: int | None) -> str:
    lines = output.splitlines()
    try:
        outcome = json.loads(lines[-1]) if lines else {}
    except ValueError:
        outcome = {}  # ended in the middle of a word
    if "sha256" in outcome and status == 0:
        return str(outcome["sha256"])
    failure = outcome.get("error")
    if failure is not None:
        kinds = (errors.UnsafeModel, errors.BadModel, errors.StoreFull)
        kind = next((kind for kind in kinds if kind.code == failure["code"]), errors.BadModel)
        raise kind(failure["message"], hint=failure["hint"])
    stderr_tail = complaints.decode("utf-8", errors="replace").strip()[-500:]
    raise errors.EngineError(
        f"The model could not be converted: the converter ended with status {status}.",
        stderr_tail=stderr_tail,
    )
