"""The doctor's checks of this machine and this installation: interpreter, SQLite, engine, torch, ember.

A check is a function without arguments that returns a `Check` and never raises for what it looks for.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Status = Literal["pass", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Check:
    """What one check found."""

    name: str
    status: Status
    what: str
    why: str = ""
    todo: str = ""


CheckFunction = Callable[[], Check]
MIN_PYTHON = (3, 11)
MIN_AVAILABLE_BYTES = 1 << 30


def machine_checks() -> tuple[CheckFunction, ...]:
    """All checks that need no home."""
    return check_machine, check_python, check_sqlite, check_engine, check_teaching, check_ember


def check_machine() -> Check:
    """The machine, as its container leaves it to us, has memory enough for ember and one training of it."""
    from homefire.machine.probe import probe

    machine = probe(Path.cwd())
    cores = machine.num_usable_cores if machine.cpu_limit is None else machine.cpu_limit
    available = f"{machine.available_bytes >> 20:,} MiB of memory available"
    if machine.available_bytes >= MIN_AVAILABLE_BYTES:
        return Check("machine", "pass", f"{machine.system}, {cores:g} cores, {available}")
    return Check(
        "machine",
        "warn",
        f"{machine.system}, {cores:g} cores, only {available}",
        "A model or a training may be refused for lack of memory.",
        "Close other programs, or raise the container's limit.",
    )


def check_python() -> Check:
    """The interpreter is recent enough."""
    version = ".".join(str(part) for part in sys.version_info[:3])
    if sys.version_info >= MIN_PYTHON:
        return Check("python", "pass", f"{version} at {sys.executable}")
    return Check(
        "python",
        "fail",
        f"{version} is too old",
        "Homefire needs Python 3.11.",
        "Install a newer Python; run `make`.",
    )


def check_sqlite() -> Check:
    """The SQLite in use is outside the range of versions that can damage a WAL database."""
    from homefire.store.driver import driver
    from homefire.store.sqlite_version import wal_reset_warning

    version = driver.sqlite_version
    warning = wal_reset_warning(version)
    if warning is None:
        return Check("sqlite", "pass", f"{version} ({driver.__name__})")
    return Check("sqlite", "warn", f"{version} ({driver.__name__})", warning, "pip install pysqlite3")


def check_engine() -> Check:
    """llama.cpp is installed."""
    version = _installed("xllamacpp")
    if version is not None:
        return Check("engine", "pass", f"xllamacpp {version}")
    return Check(
        "engine", "fail", "xllamacpp is not installed", "Nothing can answer without an engine.", "Run `make`."
    )


def check_teaching() -> Check:
    """What training needs is installed (nothing is imported)."""
    versions = {
        name: _installed(name) for name in ("torch", "transformers", "safetensors", "tokenizers", "peft")
    }
    missing = [name for name, version in versions.items() if version is None]
    if not missing:
        return Check(
            "teaching", "pass", f"torch {versions['torch']}, transformers {versions['transformers']}"
        )
    return Check(
        "teaching",
        "warn",
        f"not installed: {', '.join(missing)}",
        "Corrections are kept but cannot be trained.",
        "Run `make`, or pip install 'homefire[train]'.",
    )


def check_ember() -> Check:
    """The bundled model's files are those its card names."""
    from homefire.bundled import ember_path
    from homefire.machine.hashing import hash_file

    folder = ember_path()
    try:
        wrong = [name for name, sha256 in card_hashes(folder).items() if hash_file(folder / name) != sha256]
    except OSError as error:
        return Check(
            "ember",
            "fail",
            f"cannot be read: {error}",
            "It is the model a fresh home starts with.",
            "Install again.",
        )
    if not wrong:
        return Check("ember", "pass", f"every file has the hash on its card ({folder})")
    return Check(
        "ember",
        "fail",
        f"changed: {', '.join(wrong)}",
        "These are not the bytes that were tested; the bundled model may be damaged.",
        "Install Homefire again.",
    )


def card_hashes(folder: Path) -> dict[str, str]:
    """File name → SHA-256, from the table in a model card."""
    card = (folder / "README.md").read_text(encoding="utf-8")
    return dict(re.findall(r"^\| `([^`|]+)` \| [\d,]+ \| `([0-9a-f]{64})` \|$", card, flags=re.MULTILINE))


def _installed(name: str) -> str | None:
    if importlib.util.find_spec(name) is None:
        return None
    return importlib.metadata.version(name)
