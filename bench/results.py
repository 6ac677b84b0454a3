"""Rows of `bench/results/<area>.json`: one number an issue names, with the command that made it.

A row is {what, value, unit, reach, better, peer, peer_value, command, machine, date}. A new measurement of the
same `what` replaces the old row.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
from pathlib import Path
from typing import Any, Literal

import psutil

FOLDER = Path(__file__).parent / "results"
AREAS = ("first_circle", "learning", "keeping", "serving", "memory")


def describe_machine() -> str:
    """Cores, memory and processor family, without a name."""
    memory_gib = psutil.virtual_memory().total / 2**30
    return f"{os.cpu_count()} cores, {memory_gib:.0f} GiB, {platform.machine()}, Python {platform.python_version()}"


def load_rows(area: str) -> list[dict[str, Any]]:
    """The rows of one area, oldest first."""
    path = FOLDER / f"{area}.json"
    rows: list[dict[str, Any]] = json.loads(path.read_text()) if path.exists() else []
    return rows


def record(
    what: str,
    value: float,
    unit: str,
    *,
    reach: str,
    better: Literal["lower", "higher"],
    command: str,
    peer: str | None = None,
    peer_value: float | None = None,
    area: str = "first_circle",
) -> None:
    """Write one row and print it."""
    row = {
        "what": what,
        "value": round(value, 4),
        "unit": unit,
        "reach": reach,
        "better": better,
        "peer": peer,
        "peer_value": peer_value if peer_value is None else round(peer_value, 4),
        "command": command,
        "machine": describe_machine(),
        "date": datetime.date.today().isoformat(),
    }
    rows = [old for old in load_rows(area) if old["what"] != what] + [row]
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{area}.json").write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
    print(json.dumps(row, ensure_ascii=False))
