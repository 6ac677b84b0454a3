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

    status: Status
    what: str
    why: str = ""
    todo: str = ""


CheckFunction = Callable[[], Check]


def passed(what: str) -> Check:
    """All is well."""
    return Check("pass", what)


def warn(what: str, *, why: str, todo: str) -> Check:
    """It works, but not as well as it could."""
    return Check("warn", what, why, todo)


def fail(what: str, *, why: str, todo: str) -> Check:
    """It does not work."""
    return Check("fail", what, why, todo)


MIN_PYTHON = (3, 11)
MIN_AVAILABLE_BYTES = 1 << 30


def machine_checks() -> dict[str, CheckFunction]:
    """Name → check, of all that need no home."""
    return {
        "machine": check_machine,
        "python": check_python,
        "sqlite": check_sqlite,
        "engine": check_engine,
        "teaching": check_teaching,
        "ember": check_ember,
    }


def check_machine() -> Check:
    """The machine, as its container leaves it to us, has memory enough for ember and one training of it."""
    from homefire.machine.probe import probe

    machine = probe(Path.cwd())
    cores = machine.num_usable_cores if machine.cpu_limit is None else machine.cpu_limit
    named = f"{machine.system}, {cores:g} {'core' if cores == 1 else 'cores'}"
    available = f"{machine.available_bytes >> 20:,} MiB of memory available"
    if machine.available_bytes >= MIN_AVAILABLE_BYTES:
        return passed(f"{named}, {available}")
    return warn(
        f"{named}, only {available}",
        why="A model or a training may be refused for lack of memory.",
        todo="Close other programs, or raise the container's limit.",
    )


def check_python() -> Check:
    """The interpreter is recent enough."""
    version = ".".join(str(part) for part in sys.version_info[:3])
    if sys.version_info >= MIN_PYTHON:
        return passed(f"{version} at {sys.executable}")
    return fail(
        f"{version} is too old", why="Homefire needs Python 3.11.", todo="Install a newer Python; run `make`."
    )


def check_sqlite() -> Check:
    """The SQLite in use is outside the range of versions that can damage a WAL database."""
    from homefire.store.driver import driver
    from homefire.store.sqlite_version import wal_reset_warning

    found = f"{driver.sqlite_version} ({driver.__name__})"
    warning = wal_reset_warning(driver.sqlite_version)
    return passed(found) if warning is None else warn(found, why=warning, todo="pip install pysqlite3")


def check_engine() -> Check:
    """llama.cpp is installed."""
    version = _installed("xllamacpp")
    if version is not None:
        return passed(f"xllamacpp {version}")
    return fail("xllamacpp is not installed", why="Nothing can answer without an engine.", todo="Run `make`.")


def check_teaching() -> Check:
    """What training needs is installed (nothing is imported)."""
    names = ("torch", "transformers", "safetensors", "tokenizers", "peft")
    versions = {name: _installed(name) for name in names}
    missing = [name for name, version in versions.items() if version is None]
    if not missing:
        return passed(f"torch {versions['torch']}, transformers {versions['transformers']}")
    return warn(
        f"not installed: {', '.join(missing)}",
        why="Corrections are kept but cannot be trained.",
        todo="Run `make`, or pip install 'homefire[train]'.",
    )


def check_ember() -> Check:
    """The bundled model's files are those its card names."""
    from homefire.bundled import ember_path
    from homefire.machine.hashing import hash_file

    folder = ember_path()
    try:
        wrong = [name for name, sha256 in card_hashes(folder).items() if hash_file(folder / name) != sha256]
    except OSError as error:
        return fail(
            f"cannot be read: {error}",
            why="It is the model a fresh home starts with.",
            todo="Install Homefire again.",
        )
    if not wrong:
        return passed(f"every file has the hash on its card ({folder})")
    return fail(
        f"changed: {', '.join(wrong)}",
        why="These are not the bytes that were tested; the bundled model may be damaged.",
        todo="Install Homefire again.",
    )


def card_hashes(folder: Path) -> dict[str, str]:
    """File name → SHA-256, from the table in a model card."""
    card = (folder / "README.md").read_text(encoding="utf-8")
    return dict(re.findall(r"^\| `([^`|]+)` \| [\d,]+ \| `([0-9a-f]{64})` \|$", card, flags=re.MULTILINE))


def _installed(name: str) -> str | None:
    if importlib.util.find_spec(name) is None:
        return None
    return importlib.metadata.version(name)
