"""Where a model's chat template is written: in its GGUF file, its folder, or the folder of its base."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from homefire.catalog.tokenizer import read_chat_template, read_special_tokens
from homefire.engines.gguf_check import check_gguf

if TYPE_CHECKING:
    from homefire.engines.template import ChatTemplate


def template_of_file(path: Path) -> ChatTemplate | None:
    """The template in a GGUF file."""
    # The template library is only needed to teach; an idle server does without its memory.
    from homefire.engines.template import ChatTemplate

    header = check_gguf(path)
    source = header.metadata.get("tokenizer.chat_template")
    if not isinstance(source, str):
        return None
    return ChatTemplate(source, bos_token=header.token("bos"), eos_token=header.token("eos"))


def template_of_folders(folders: Sequence[Path]) -> ChatTemplate | None:
    """The template of the first folder that has one."""
    from homefire.engines.template import ChatTemplate

    for folder in folders:
        source = read_chat_template(folder)
        if source is not None:
            special = read_special_tokens(folder)
            return ChatTemplate(
                source,
                bos_token=special.get("bos_token", ""),
                eos_token=special.get("eos_token", ""),
                special_tokens=special,
            )
    return None
