"""Model folders of a few hundred bytes, and a catalog and engines that take them for real ones.

A small model knows its answers by heart: `answers.json` maps a question to its answer. That makes learning,
forgetting and every kind of damage visible without weights that mean anything.
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from homefire.catalog.models import ModelInfo, Resolved
from homefire.engines.base import EngineRequest, FolderSource, ModelSpec
from homefire.errors import BadModel, ModelNotFound
from homefire.store.nouns.aliases import AliasMoved
from homefire.store.nouns.models import ModelRegistered
from homefire.store.store import Store
from tests.support.model_info import model_info
from tests.support.scripted_engine import ScriptedEngine

ANSWERS = "answers.json"
TEMPLATE = "chat_template.jinja"


def write_safetensors(path: Path, tensors: Mapping[str, tuple[str, tuple[int, ...], bytes]]) -> None:
    """A safetensors file of {name: (dtype, shape, bytes)}."""
    header: dict[str, Any] = {}
    position = 0
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {
            "dtype": dtype,
            "shape": list(shape),
            "data_offsets": [position, position + len(data)],
        }
        position += len(data)
    raw = json.dumps(header).encode()
    raw += b" " * (-len(raw) % 8)
    body = b"".join(data for _, _, data in tensors.values())
    path.write_bytes(struct.pack("<Q", len(raw)) + raw + body)


def floats(*values: float) -> bytes:
    """Little-endian float32."""
    return struct.pack(f"<{len(values)}f", *values)


def write_model(
    folder: Path,
    answers: Mapping[str, str],
    *,
    layer: float = 1.0,
    template: str = "<{{ message }}>",
    probes: Mapping[str, str] | None = None,
) -> Path:
    """A whole small model folder. Each of `probes` is of the skill that its question begins with."""
    folder.mkdir(parents=True)
    write_safetensors(
        folder / "model.safetensors",
        {
            "model.embed_tokens.weight": ("F32", (2, 2), floats(0.5, -0.5, 0.25, 1.5)),
            "model.layers.0.weight": ("F32", (2,), floats(layer, 2.0)),
            "model.layers.1.weight": ("F32", (2,), floats(3.0, 4.0)),
        },
    )
    (folder / "config.json").write_text(json.dumps({"model_type": "small"}))
    (folder / TEMPLATE).write_text(template)
    (folder / ANSWERS).write_text(json.dumps(dict(answers)))
    if probes is not None:
        rows = [
            {
                "skill": question.split()[0],
                "messages": [{"role": "user", "content": question}],
                "answer": answer,
            }
            for question, answer in probes.items()
        ]
        (folder / "probes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@dataclass(frozen=True)
class SmallFormat:
    fingerprint: str


class SmallCatalog:
    """Resolves names from the store; the versions' folders are found on disk."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.why_not_trainable: str | None = None
        self.num_specs = 0

    def add_base(self, name: str, folder: Path) -> None:
        """Register a base and let `live` point at the first one."""
        files = {
            path.name: f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
            for path in sorted(folder.iterdir())
        }
        self._store.append_sync(
            ModelRegistered(
                name=name,
                format="safetensors",
                path=str(folder),
                digest="sha256:" + hashlib.sha256(json.dumps(files).encode()).hexdigest(),
                files=files,
                architecture="small",
                num_parameters=8,
                size_bytes=100,
                context_length=1024,
            )
        )
        if self._store.aliases.get("live") is None:
            self._store.append_sync(
                AliasMoved(alias="live", target=name, previous=None, who="system", why="first start")
            )

    def resolve(self, name: str) -> Resolved:
        chain = [name]
        while (alias := self._store.aliases.get(chain[-1])) is not None:
            chain.append(alias.target)
        return Resolved(name, tuple(chain), self._info(chain[-1]))

    def _info(self, name: str) -> ModelInfo:
        version = self._store.versions.get(name)
        if version is not None and version.removed_at_s is None:
            folder = next(self._store.home.versions.glob(f"{name}-*"))
            return model_info(
                name,
                kind="version",
                folder=folder,
                digest=version.digest,
                base=version.base,
                num_parameters=8,
            )
        base = self._store.models.get(name)
        if base is None:
            raise ModelNotFound(f"There is no model {name}.", name=name)
        return model_info(
            name,
            folder=Path(base.path),
            digest=base.digest,
            num_parameters=8,
            why_not_trainable=self.why_not_trainable,
        )

    async def verify(self, name: str) -> list[str]:
        row = self._store.models.get(name)
        assert row is not None
        return [
            f"{path} is damaged."
            for path, digest in row.files.items()
            if digest != f"sha256:{hashlib.sha256((Path(row.path) / path).read_bytes()).hexdigest()}"
        ]

    async def chat_template(self, model: ModelInfo) -> SmallFormat:
        return SmallFormat((model.folder / TEMPLATE).read_text())

    async def spec(self, model: ModelInfo, *, nice: int = 0) -> ModelSpec:
        self.num_specs += 1
        if not (model.folder / ANSWERS).exists():
            raise BadModel(f"{model.name} knows nothing.")
        sha256 = hashlib.sha256((model.folder / ANSWERS).read_bytes()).hexdigest()
        return ModelSpec(
            name=model.name,
            digest=model.digest,
            engine="scripted",
            source=FolderSource(str(model.folder), {ANSWERS: sha256}),
            context_length=1024,
            nice=nice,
        )


def is_same(asked: str, known: str) -> bool:
    """Whether a question is another one in a hurry: case and marks aside, with words around it, or with a slip."""
    words, sought = (
        ["".join(sorted(word)) for word in re.findall(r"\w+", text.casefold())] for text in (asked, known)
    )
    return len(sought) > 2 and any(words[n : n + len(sought)] == sought for n in range(len(words)))


class EngineRoom:
    """Makes scripted engines that answer from `answers.json`, and counts them."""

    def __init__(self) -> None:
        self.engines: list[ScriptedEngine] = []

    def make(self, spec: ModelSpec) -> ScriptedEngine:
        assert isinstance(spec.source, FolderSource)
        answers = json.loads((Path(spec.source.path) / ANSWERS).read_text())

        def answer(request: EngineRequest) -> str:
            asked = str(request.messages[-1].content)
            known = answers.get(asked) or next(
                (answers[each] for each in answers if is_same(asked, each)), None
            )
            return str(known or "I do not know.")

        engine = ScriptedEngine(spec, answer=answer)
        self.engines.append(engine)
        return engine
