"""What the tests of engines share."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import homefire
from homefire.engines.base import Delta, Engine, EngineRequest, Finish, GgufSource, ModelSpec, TokenLogprob
from homefire.types import Message, Sampling

LETTERS = "root ::= [a-z ]{2000}"
"""A grammar that never ends by itself: an answer to interrupt."""


@dataclass(frozen=True)
class QuickSettings:
    """Times short enough for a test, long enough for a busy machine."""

    load_timeout_s: float = 60.0
    stall_timeout_s: float = 30.0


QUICK = QuickSettings()


@dataclass
class Answer:
    """A collected stream."""

    finish: Finish
    pieces: list[str] = field(default_factory=list)
    logprobs: list[TokenLogprob] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(self.pieces)


def ember_folder() -> Path:
    return Path(homefire.__file__).parent / "bundled" / "ember"


def spec_for(gguf: Path, **changes: Any) -> ModelSpec:
    """A spec for a GGUF file on disk, with its true hash."""
    settings: dict[str, Any] = {
        "name": "ember",
        "digest": "sha256:0",
        "engine": "llama.cpp",
        "source": GgufSource(str(gguf), hashlib.sha256(gguf.read_bytes()).hexdigest()),
        "context_length": 1024,
        "num_parallel": 2,
        **changes,
    }
    return ModelSpec(**settings)


def asking(text: str = "Who are you?", **sampling: Any) -> EngineRequest:
    """A request with one user message."""
    return EngineRequest(
        messages=(Message("user", text),),
        sampling=Sampling(**{"temperature": 0.0, **sampling}),
    )


def endless(**sampling: Any) -> EngineRequest:
    """A request whose answer goes on until the context is full."""
    return asking(grammar=LETTERS, **sampling)


async def collect(engine: Engine, request: EngineRequest) -> Answer:
    """The whole answer. Fails when the stream does not end with exactly one Finish."""
    items = [item async for item in engine.generate(request)]
    assert isinstance(items[-1], Finish), items
    deltas = [item for item in items[:-1] if isinstance(item, Delta)]
    assert len(deltas) == len(items) - 1
    return Answer(items[-1], [delta.text for delta in deltas], _flatten(delta.logprobs for delta in deltas))


def _flatten(groups: Iterable[Iterable[TokenLogprob]]) -> list[TokenLogprob]:
    return [entry for group in groups for entry in group]
