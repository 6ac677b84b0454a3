"""Files that ship inside the package: `ember/`, the tiny language model a fresh home starts with.

Promises only a location; whoever loads the files verifies them. Costs nothing to import.
"""

from __future__ import annotations

from pathlib import Path


def ember_path() -> Path:
    """The folder of the bundled model ember (safetensors, tokenizer, template, probes, replay, card)."""
    return Path(__file__).parent / "ember"
