"""What engines read: the bytes behind a model in the form its engine asks for (`engines.base.SourceKind`).

A safetensors model is handed out as its folder, or as a GGUF file that is made of it and kept; a GGUF model as
its file; a model on another server as its address. No engine is known here by name: each states the kind it
reads, and `KINDS_BY_FORMAT` says what a model can be turned into.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final, assert_never

from homefire.catalog.checkpoint import ADAPTER_CONFIG
from homefire.catalog.file_hashes import find_damage
from homefire.catalog.gguf_cache import GgufCache
from homefire.catalog.models import ModelFormat, ModelInfo, RemoteModel
from homefire.engines.base import Adapter, FolderSource, GgufSource, Source, SourceKind, UrlSource
from homefire.errors import CorruptData
from homefire.machine.hashing import FileVerifier

KINDS_BY_FORMAT: Final[Mapping[ModelFormat, tuple[SourceKind, ...]]] = {
    "safetensors": ("gguf", "folder"),
    "gguf": ("gguf",),
    "remote": ("url",),
}
Repair = Callable[[str], Awaitable[object]]
_log = logging.getLogger(__name__)


class Sources:
    """`registered` gives a model's files with their hashes; `repair`, by kind of model, makes one whole."""

    def __init__(
        self,
        cache: GgufCache,
        *,
        verifier: FileVerifier,
        registered: Callable[[ModelInfo], Mapping[str, str]],
        remotes: Mapping[str, RemoteModel],
        gguf_dtype: str,
        repair: Mapping[str, Repair],
    ) -> None:
        self._cache, self._registered, self._remotes = cache, registered, remotes
        self._verifier = verifier
        self._gguf_dtype, self._repair = gguf_dtype, repair

    async def make(
        self, kind: SourceKind, model: ModelInfo, *, base: ModelInfo | None, nice: int = 0
    ) -> Source:
        """What an engine of that kind reads. `base` is the model a version descends from.

        The files of a model are checked against what was registered. Raises CorruptData, BadModel.
        """
        match kind:
            case "gguf":
                return await self._gguf(model, base=base, nice=nice)
            case "folder":
                return await self._folder(model, base=base)
            case "url":
                remote = self._remotes[model.name]
                return UrlSource(remote.url, remote.model)
            case _:
                assert_never(kind)

    async def _gguf(self, model: ModelInfo, *, base: ModelInfo | None, nice: int) -> GgufSource:
        if base is not None and _is_adapter(model):
            whole = await self._gguf(base, base=None, nice=nice)
            await self._check(model)
            path, sha256 = await self._cache.adapter(
                model.folder, base=base.folder, digest=model.digest, nice=nice
            )
            return GgufSource(whole.path, whole.sha256, (Adapter(str(path), sha256),))
        if model.format == "gguf":
            ((name, sha256),) = self._registered(model).items()
            return GgufSource(str(model.folder / name), sha256.removeprefix("sha256:"))
        await self._check(model)
        path, sha256 = await self._cache.whole_model(
            model.folder, digest=model.digest, dtype=self._gguf_dtype, nice=nice
        )
        return GgufSource(str(path), sha256)

    async def _folder(self, model: ModelInfo, *, base: ModelInfo | None) -> FolderSource:
        whole = await self._folder(base, base=None) if base is not None and _is_adapter(model) else None
        await self._check(model)
        files = {name: sha256.removeprefix("sha256:") for name, sha256 in self._registered(model).items()}
        return FolderSource(str(model.folder), files, whole)

    def _find_damage(self, folder: Path, files: Mapping[str, str]) -> list[str]:
        return find_damage(folder, files, is_sound=self._verifier.is_sound)

    async def _check(self, model: ModelInfo) -> None:
        """A model that is not what was registered is not served, not even from what was made of it before."""
        files = self._registered(model)
        damage = await asyncio.to_thread(self._find_damage, model.folder, files)
        if damage and model.kind in self._repair:
            _log.warning("%s is damaged (%s); it is made whole again", model.name, damage[0])
            await self._repair[model.kind](model.name)
            damage = await asyncio.to_thread(self._find_damage, model.folder, files)
        if damage:
            raise CorruptData(
                f"The files of {model.name} are not those that were registered: {damage[0]}",
                hint=f"Run `homefire versions verify {model.name}`."
                if model.kind == "version"
                else f"Add it again from a good copy: `homefire models add PATH --name {model.name}`.",
                model=model.name,
                problems=damage,
            )


def _is_adapter(model: ModelInfo) -> bool:
    return (model.folder / ADAPTER_CONFIG).exists()
