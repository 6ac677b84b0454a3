"""How long a stranger waits: `make test` in a fresh clone, and the installation in it.

python -m bench.clean_checkout
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from pathlib import Path

from bench.results import record

COMMAND = "python -m bench.clean_checkout"
TOP = Path(__file__).resolve().parent.parent


def took_minutes(target: str, folder: Path) -> float:
    """Minutes that `make target` takes; a failure ends the measurement."""
    began_s = time.perf_counter()
    subprocess.run(["make", target], cwd=folder, check=True)
    return (time.perf_counter() - began_s) / 60


def main() -> None:
    """Clone, install, test, record."""
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "homefire"
        subprocess.run(["git", "clone", "-q", str(TOP), str(folder)], check=True)
        install = took_minutes(".venv/.installed", folder)
        tests = took_minutes("test", folder)
    record("`make test` on a clean checkout, installation included", install + tests, "min",
           reach="<= 15", better="lower", command=COMMAND)  # fmt: skip
    record("of which installation", install, "min", reach="<= 5", better="lower", command=COMMAND)


if __name__ == "__main__":
    main()
