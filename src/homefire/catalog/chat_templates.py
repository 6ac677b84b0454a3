"""Where a model's chat template is written: in its GGUF file, its folder, or the folder of its base.

What is read here is text. Nothing of it is compiled or rendered: that is work of the template's author, and is
done where it can be ended (`catalog/inspect.py`, `engines/worker.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from homefire.catalog.findings import TemplateText
from homefire.catalog.tokenizer import read_chat_template, read_special_tokens
from homefire.engines.gguf_check import GgufHeader


def template_of_header(header: GgufHeader) -> TemplateText | None:
    """The template in a GGUF file."""
    source = header.metadata.get("tokenizer.chat_template")
    if not isinstance(source, str):
        return None
    return TemplateText(source=source, bos_token=header.token("bos"), eos_token=header.token("eos"))


def template_of_folders(folders: Sequence[Path]) -> TemplateText | None:
    """The template of the first folder that has one."""
    for folder in folders:
        source = read_chat_template(folder)
        if source is not None:
            special = read_special_tokens(folder)
            return TemplateText(
                source=source,
                bos_token=special.get("bos_token", ""),
                eos_token=special.get("eos_token", ""),
                special_tokens=special,
            )
    return None
