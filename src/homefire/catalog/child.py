"""How the catalog's child processes report: one JSON line, and an exit status that says whether it worked."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from homefire.errors import HomefireError

FAILED = 10
"""Exit status when the line holds an error."""


def report_outcome(work: Callable[[], str], target: Path) -> int:
    """Run `work` (it returns a SHA-256 in hex), print what came of it, and return the exit status."""
    try:
        digest = work()
    except HomefireError as error:
        failure = {"code": error.code, "message": error.message, "hint": error.hint}
        print(json.dumps({"error": failure}), flush=True)
        return FAILED
    print(json.dumps({"sha256": digest, "size_bytes": target.stat().st_size}), flush=True)
    return 0
