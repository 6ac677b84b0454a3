"""The catalog: every name a request may use, and the files behind it.

Bases, versions and aliases share one space of names. The truth is the store's; the catalog adds where the
files are, what kind of model they are, and how an engine gets them (a GGUF file, made from safetensors when
needed, with the hash it must have). Looking up costs a few reads of the database; `add` and `files` hash and
copy on threads and in child processes.
"""

from __future__ import annotations

import asyncio
import contextlib
import difflib
import hashlib
import importlib.util
import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

from homefire.catalog.file_hashes import find_damage, folder_digest
from homefire.catalog.findings import TemplateText
from homefire.catalog.gguf_cache import GgufCache
from homefire.catalog.importing import discard_unfinished, end_import, import_files, restore_files
from homefire.catalog.inspection import inspect_model, read_template, why_not_teachable
from homefire.catalog.manifests import Manifests
from homefire.catalog.models import (
    BUNDLED,
    DEFAULT,
    LIVE,
    ModelFormat,
    ModelInfo,
    RemoteModel,
    Resolved,
    check_name,
    suggest_name,
)
from homefire.catalog.scrub import ScrubTarget
from homefire.catalog.sources import KINDS_BY_FORMAT, Repair, Sources
from homefire.config.schema import Settings
from homefire.engines.base import ModelSpec, SourceKind
from homefire.errors import BadModel, Conflict, CorruptData, ModelNotFound, quoted
from homefire.home import Home
from homefire.machine.hashing import FileVerifier, hash_file
from homefire.store.events import Event
from homefire.store.nouns.aliases import AliasMoved
from homefire.store.nouns.models import ModelRegistered, ModelRemoved, ModelRow
from homefire.store.nouns.runs import RunRow
from homefire.store.nouns.versions import VersionPublished, VersionRemoved, VersionRow
from homefire.store.store import Store

MAX_CONTEXT_BY_DEFAULT = 8192
MAX_ALIAS_STEPS = 16
BUILT_IN_ENGINES: Final[Mapping[str, SourceKind]] = MappingProxyType({"llama.cpp": "gguf"})
MAX_NAME_CHARS = 500
_BUNDLED_FOLDER = Path(__file__).parent.parent / "bundled" / BUNDLED
_log = logging.getLogger(__name__)
_TRAINING_PACKAGES = ("torch", "transformers", "peft", "safetensors")

CHANGE_NAMES = (AliasMoved, ModelRegistered, ModelRemoved, VersionPublished, VersionRemoved)
"""Events after which a name may mean something else."""


class Catalog:
    """One for each server."""

    def __init__(
        self,
        home: Home,
        store: Store,
        settings: Settings,
        *,
        engines: Mapping[str, SourceKind] = BUILT_IN_ENGINES,
        remotes: Mapping[str, RemoteModel] = MappingProxyType({}),
        repair: Repair | None = None,
        verifier: FileVerifier | None = None,
    ) -> None:
        """`engines` maps each to what it reads; `remotes` are the models on other servers, by name.

        `repair` restores the folder of a damaged version from its blobs, or raises CorruptData.
        """
        self._home, self._store, self._settings = home, store, settings.serving
        self._engines, self._remotes = engines, remotes
        self._verifier = verifier or FileVerifier()
        self._gguf_cache = GgufCache(home.cache / "gguf", self._verifier)
        self._sources = Sources(
            self._gguf_cache,
            verifier=self._verifier,
            registered=self._registered_files,
            remotes=remotes,
            gguf_dtype=settings.serving.gguf_dtype,
            repair={"base": self.repair} | ({"version": repair} if repair is not None else {}),
        )
        self._manifests = Manifests(home, store)
        self._templates: dict[str, TemplateText] = {}
        self._adding = asyncio.Lock()
        self._resolved: dict[str, Resolved] = {}
        self._resolved_at = -1
        # Asked once: it searches the disk, and every request resolves a name.
        self._why_nothing_is_trainable = _why_nothing_is_trainable()

    # Names

    def resolve(self, name: str) -> Resolved:
        """Follow a name to a model. ModelNotFound (`details["nearest"]`) when it leads nowhere.

        What a name means is kept until an event that may change it is recorded.
        """
        last_change = self._store.last_seq_of(CHANGE_NAMES)
        if last_change != self._resolved_at:
            self._resolved, self._resolved_at = {}, last_change
        known = self._resolved
        resolved = known.get(name)
        if resolved is None:
            resolved = self._look_up(name)
            if resolved.model.kind != "version" or self._manifests.has_read(resolved.model.name):
                known[name] = resolved
        return resolved

    def _look_up(self, name: str) -> Resolved:
        if len(name) > MAX_NAME_CHARS:
            # Looking for something similar would hold everybody else up.
            raise ModelNotFound(
                f"There is no model named {quoted(name[:60])}…: the name is too long.", nearest=None
            )
        chain = [name]
        while (alias := self._store.aliases.get(chain[-1])) is not None:
            if len(chain) > MAX_ALIAS_STEPS or alias.target in chain:
                raise Conflict(
                    f"The alias {quoted(name)} leads in a circle: {' → '.join(chain)}.", chain=chain
                )
            chain.append(alias.target)
        model = self._find(chain[-1])
        if model is None:
            nearest = difflib.get_close_matches(chain[-1], self._names(), n=1)
            hint = (
                f"Did you mean {quoted(nearest[0])}?"
                if nearest
                else "`homefire models list` lists those there are."
            )
            raise ModelNotFound(
                f"There is no model named {quoted(chain[-1])}.",
                hint=hint,
                model=name,
                nearest=nearest or None,
            )
        return Resolved(name, tuple(chain), model)

    def list(self) -> list[ModelInfo]:
        """Aliases, bases, versions, then models of other servers, each by name."""
        models = [self._base_info(row) for row in self._store.models.list()]
        models += [self._version_info(row) for row in self._store.versions.list()]
        models += [self._remote_info(name, remote) for name, remote in self._remotes.items()]
        by_name = {model.name: model for model in models}
        aliases = []
        for alias in self._store.aliases.list():
            meant = by_name.get(self.resolve(alias.alias).model.name)
            if meant is not None:
                described = {name: getattr(meant, name) for name in ModelInfo.__slots__}
                described.update(name=alias.alias, kind="alias", target=alias.target)
                aliases.append(ModelInfo(**described))
        return [*aliases, *models]

    def _names(self) -> Sequence[str]:
        return [
            *(alias.alias for alias in self._store.aliases.list()),
            *(row.name for row in self._store.models.list()),
            *(row.version for row in self._store.versions.list()),
            *self._remotes,
        ]

    def _find(self, name: str) -> ModelInfo | None:
        base = self._store.models.get(name)
        if base is not None:
            return self._base_info(base)
        version = self._store.versions.get(name)
        if version is not None and version.removed_at_s is None:
            return self._version_info(version)
        remote = self._remotes.get(name)
        return self._remote_info(name, remote) if remote is not None else None

    def _base_info(self, row: ModelRow) -> ModelInfo:
        why_not = (
            self._why_nothing_is_trainable
            if row.format == "safetensors"
            else "a GGUF file can be served but not taught; add the model's safetensors folder"
        )
        return ModelInfo(
            name=row.name,
            kind="base",
            target=None,
            format=row.format,
            engine=self._engine_for(row.format),
            num_parallel=self._settings.num_parallel,
            folder=self._home.root / row.path,
            digest=row.digest,
            base=None,
            parent=None,
            architecture=row.architecture,
            num_parameters=row.num_parameters,
            size_bytes=row.size_bytes,
            context_length=row.context_length,
            why_not_trainable=why_not,
            created_at_s=row.created_at_s,
        )

    def _version_info(self, row: VersionRow) -> ModelInfo:
        base = self._store.models.get(row.base)
        if base is None:
            raise ModelNotFound(
                f"The base {quoted(row.base)} of version {row.version} is not registered.", model=row.base
            )
        return ModelInfo(
            name=row.version,
            kind="version",
            target=None,
            format="safetensors",
            engine=self._engine_for("safetensors"),
            num_parallel=self._settings.num_parallel,
            folder=self._manifests.folder(row),
            digest=row.digest,
            base=row.base,
            parent=row.parent,
            architecture=base.architecture,
            num_parameters=base.num_parameters,
            size_bytes=row.size_bytes,
            context_length=base.context_length,
            why_not_trainable=self._why_nothing_is_trainable,
            created_at_s=row.created_at_s,
        )

    def _remote_info(self, name: str, remote: RemoteModel) -> ModelInfo:
        identity = hashlib.sha256(f"{remote.url}#{remote.model}".encode()).hexdigest()
        return ModelInfo(
            name=name,
            kind="remote",
            target=None,
            format="remote",
            engine=remote.engine,
            num_parallel=remote.num_parallel,
            folder=self._home.base_models / name,
            digest=f"sha256:{identity}",
            base=None,
            parent=None,
            architecture="unknown",
            num_parameters=0,
            size_bytes=0,
            context_length=remote.context_length,
            why_not_trainable="its weights are on another server",
            created_at_s=0.0,
        )

    # Adding and removing

    async def add(self, path: Path, *, name: str | None = None, in_place: bool = False) -> ModelInfo:
        """Register a GGUF file or a safetensors folder as a base model.

        Its files are brought into the home, or used where they are (`in_place`; then they must stay as they
        are: each load checks). A registered model that is damaged is made whole from a copy of the same.
        Raises InvalidRequest for the name, Conflict when it is taken, UnsafeModel and BadModel for the model,
        StoreFull when the disk does not take it.
        """
        path = _absolute(path)
        name = check_name(name if name is not None else suggest_name(path))
        known = self._store.models.get(name)
        if known is None:
            self._check_free(name)
        # Looked at and hashed before the others have to wait for it.
        found = await inspect_model(path)
        source = folder = Path(found.folder)
        files = await asyncio.to_thread(_hash_files, source, found.files)
        if known is not None:
            await self._restore(known, source, folder_digest(files))
            return self.resolve(name).model
        async with self._adding:
            self._check_free(name)
            if not in_place:
                folder = self._home.base_models / name
                await asyncio.to_thread(import_files, source, files, target=folder, world=self._store.world)
                for file, sha256 in files.items():
                    self._verifier.note(folder / file, sha256)  # it was read back
            await self._store.append(
                ModelRegistered(
                    name=name,
                    format=found.format,
                    path=str(folder if in_place else folder.relative_to(self._home.root)),
                    digest=folder_digest(files),
                    files={file: f"sha256:{sha256}" for file, sha256 in files.items()},
                    architecture=found.architecture,
                    num_parameters=found.num_parameters,
                    size_bytes=found.size_bytes,
                    context_length=found.context_length,
                )
            )
            if not in_place:
                await asyncio.to_thread(end_import, folder)
        return self.resolve(name).model

    async def _restore(self, row: ModelRow, source: Path, digest: str) -> None:
        """Make a damaged model whole from a good copy. Conflict where it is whole, elsewhere, or another model."""
        target = self._home.root / row.path
        async with self._adding:
            damage = await asyncio.to_thread(find_damage, target, row.files)
            if not damage or digest != row.digest or target.parent != self._home.base_models:
                self._check_free(row.name)
            restored = await asyncio.to_thread(
                restore_files, source, row.files, target=target, world=self._store.world
            )
        _log.warning("%s was damaged; brought back: %s", row.name, ", ".join(restored))

    async def repair(self, name: str) -> None:
        """Make the damaged copy of the bundled model whole from the one that is installed, if that is the same.

        Of any other model nobody here has a good copy: nothing is done.
        """
        row = self._store.models.get(name)
        if row is None or name != BUNDLED:
            return
        files = await asyncio.to_thread(_hash_files, _BUNDLED_FOLDER, list(row.files))
        if folder_digest(files) == row.digest:
            await self._restore(row, _BUNDLED_FOLDER, row.digest)

    def recover(self) -> Sequence[str]:
        """Remove what killed work left among the models and the converted files; what was done, in sentences."""
        names = {row.name for row in self._store.models.list()}
        done = discard_unfinished(self._home.base_models, known=names)
        return done + self._gguf_cache.discard_unfinished()

    def _check_free(self, name: str) -> None:
        if name in self._names():
            raise Conflict(
                f"There is already a model named {quoted(name)}.", hint="Give another name.", name=name
            )

    async def remove(self, name: str) -> None:
        """Remove a base model, our copy of it and what was made of it.

        Conflict while an alias, a version or a run that is not over needs it.
        """
        row = self._store.models.get(name)
        if row is None:
            raise ModelNotFound(f"There is no base model named {quoted(name)}.", model=name)
        dependants = [alias.alias for alias in self._store.aliases.list() if alias.target == name]
        dependants += [version.version for version in self._store.versions.list() if version.base == name]
        dependants += [run.run_id for run in self._open_runs() if name in (run.base, run.parent)]
        if dependants:
            raise Conflict(
                f"{name} cannot be removed: {', '.join(dependants[:5])} need it.",
                hint="Move the aliases, delete the versions and let the runs end first.",
                dependants=dependants,
            )
        await self._store.append(ModelRemoved(name=name))
        folder = (self._home.root / row.path).resolve()
        if folder.parent == self._home.base_models.resolve():
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        if all(other.digest != row.digest for other in self._store.models.list()):
            await asyncio.to_thread(self._gguf_cache.remove, row.digest)

    def _open_runs(self) -> Sequence[RunRow]:
        runs = self._store.runs
        return [*runs.list("queued"), *runs.list("running"), *runs.list("paused")]

    async def verify(self, name: str) -> Sequence[str]:
        """Hash every byte of a base model again; one sentence for each file that is not as registered."""
        row = self._store.models.get(self.resolve(name).model.name)
        if row is None:
            raise ModelNotFound(f"There is no base model named {quoted(name)}.", model=name)
        return await asyncio.to_thread(find_damage, self._home.root / row.path, row.files)

    async def ensure_bundled(self) -> None:
        """At the first start: the home gets its own copy of `ember`, and the aliases that lead to it."""
        if self._store.models.get(BUNDLED) is None:
            await self.add(_BUNDLED_FOLDER, name=BUNDLED)
        wanted = {LIVE: BUNDLED, DEFAULT: LIVE}
        missing: tuple[Event, ...] = tuple(
            AliasMoved(alias=alias, target=target, previous=None, who="homefire", why="first start")
            for alias, target in wanted.items()
            if self._store.aliases.get(alias) is None
        )
        if missing:
            await self._store.append(*missing)

    # What engines load

    async def spec(self, model: ModelInfo, *, nice: int = 0) -> ModelSpec:
        """A model as its engine is given it; a GGUF file is made first where that is what the engine reads.

        Raises CorruptData, BadModel, ConfigError where no engine reads this model.
        """
        if model.kind == "alias":
            model = self.resolve(model.name).model
        base = self.resolve(model.base).model if model.base is not None else None
        source = await self._sources.make(self._engines[model.engine], model, base=base, nice=nice)
        asked = self._settings.context_length or MAX_CONTEXT_BY_DEFAULT
        return ModelSpec(
            name=model.name,
            digest=model.digest,
            engine=model.engine,
            source=source,
            context_length=min(asked, model.context_length),
            num_parallel=model.num_parallel,
            num_threads=self._settings.num_threads,
            nice=nice,
        )

    def _engine_for(self, format: ModelFormat) -> str:
        """The engine of the settings where it reads this kind of model, else one that does."""
        kinds = KINDS_BY_FORMAT[format]
        names = sorted(self._engines, key=lambda name: name != self._settings.engine)
        return next((name for name in names if self._engines[name] in kinds), self._settings.engine)

    def _registered_files(self, model: ModelInfo) -> Mapping[str, str]:
        row, version = self._store.models.get(model.name), self._store.versions.get(model.name)
        if row is not None:
            return row.files
        return self._manifests.of(version).files if version is not None else {}

    async def chat_template(self, model: ModelInfo) -> TemplateText:
        """The model's chat template as it is written; BadModel when it has none."""
        template = self._templates.get(model.digest)
        if template is None:
            template = self._templates[model.digest] = await self._read_template(model)
        return template

    async def _read_template(self, model: ModelInfo) -> TemplateText:
        template = await read_template(self._template_paths(model))
        if template is None:
            raise BadModel(f"{model.name} has no chat template: it is not a chat model.")
        return template

    async def why_not_teachable(self, model: ModelInfo) -> str | None:
        """Why nothing could be learned through the model's chat template; None where it can. Raises BadModel."""
        return await why_not_teachable(self._template_paths(model))

    def _template_paths(self, model: ModelInfo) -> Sequence[Path]:
        model = self.resolve(model.name).model
        if model.format == "gguf":
            return [model.folder / next(iter(self._registered_files(model)))]
        base = [] if model.base is None else [self.resolve(model.base).model.folder]
        return [model.folder, *base]

    def scrub_targets(self) -> Iterator[ScrubTarget]:
        """Every file of models and versions, what was converted, and all blobs. Reads manifests."""
        for model in (self._find(name) for name in self._names()):
            if model is not None and model.kind != "remote":
                with contextlib.suppress(CorruptData):  # a lost manifest: `verify` says so
                    for file, sha256 in self._registered_files(model).items():
                        yield ScrubTarget(f"{model.name}: {file}", model.folder / file, sha256)
        for path, sha256 in self._gguf_cache.all():
            yield ScrubTarget(f"cache: {path.name}", path, sha256)
        for digest in self._store.blobs.all():
            yield ScrubTarget(f"blob: {digest}", self._store.blobs.path(digest), digest)

    async def stop(self) -> None:
        """End conversions that are under way."""
        await self._gguf_cache.stop()


def _absolute(path: Path) -> Path:
    return path.expanduser().absolute()


def _hash_files(folder: Path, names: Sequence[str]) -> dict[str, str]:
    """{name: SHA-256 in hex} of files in a folder."""
    try:
        return {name: hash_file(folder / name) for name in names}
    except OSError as error:
        raise BadModel(f"{error.filename} cannot be read: {error.strerror}.") from error


def _why_nothing_is_trainable() -> str | None:
    missing = [name for name in _TRAINING_PACKAGES if importlib.util.find_spec(name) is None]
    return f"{', '.join(missing)} is not installed here; `make` installs it" if missing else None
