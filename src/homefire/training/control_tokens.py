"""Control tokens of a model, such as `<|im_end|>`, as its tokenizer lists them.

Where such text is in a correction it becomes one control token, and what is then learned is not what was
written. Reading a tokenizer of 150,000 words takes a tenth of a second: on a thread, once for each model.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from homefire.catalog.tokenizer import read_special_tokens


class _Added(msgspec.Struct, frozen=True):
    content: str
    special: bool = False


class _Tokenizer(msgspec.Struct, frozen=True):
    added_tokens: tuple[_Added, ...] = ()


class ControlTokens:
    """The control tokens of model folders, read once each."""

    def __init__(self) -> None:
        self._known: dict[Path, frozenset[str]] = {}

    async def of(self, folder: Path) -> frozenset[str]:
        """Those of the model in this folder; none where it has no tokenizer that can be read."""
        if folder not in self._known:
            self._known[folder] = await asyncio.to_thread(read_control_tokens, folder)
        return self._known[folder]


def read_control_tokens(folder: Path) -> frozenset[str]:
    """The texts that this folder's tokenizer takes for control tokens."""
    path = folder / "tokenizer.json"
    if not path.exists():
        return frozenset()
    try:
        tokenizer = msgspec.json.decode(path.read_bytes(), type=_Tokenizer)
    except msgspec.MsgspecError:
        return frozenset()
    listed = {token.content for token in tokenizer.added_tokens if token.special and token.content}
    return frozenset(listed | set(read_special_tokens(folder).values()) - {""})
