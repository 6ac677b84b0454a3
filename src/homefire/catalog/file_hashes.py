"""The hashes of a model's files: its digest, and which files are no longer what was registered.

The digest is the SHA-256 over the canonical JSON of {relative path: SHA-256}, the same as that of a version's
files. Costs a read of the files (about 1 GB/s).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path

from homefire.machine.hashing import hash_file


def folder_digest(files: Mapping[str, str]) -> str:
    """`sha256:…` over the canonical JSON of {relative path: SHA-256 hex}."""
    content = json.dumps(dict(files), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return "sha256:" + hashlib.sha256(content.encode()).hexdigest()


def has_hash(path: Path, sha256: str) -> bool:
    """Read the whole file and compare."""
    return hash_file(path) == sha256.removeprefix("sha256:")


def find_damage(
    folder: Path, files: Mapping[str, str], *, is_sound: Callable[[Path, str], bool] = has_hash
) -> list[str]:
    """One sentence for each file that is missing, unreadable or not what was registered; else empty."""
    problems: list[str] = []
    for name, wanted in sorted(files.items()):
        path = folder / name
        try:
            if not path.is_file():
                problems.append(f"{name} is missing.")
            elif not is_sound(path, wanted):
                problems.append(f"{name} is not what was registered.")
        except OSError as error:
            problems.append(f"{name} cannot be read: {error.strerror}.")
    return problems
