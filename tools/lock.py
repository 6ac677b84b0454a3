"""Resolve pyproject.toml into requirements/lock.txt, every package but torch, with hashes.

Run with `make lock`. torch is pinned by hand in requirements/torch.txt, because which build is right
depends on the machine.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEADER = "# Every package but torch, pinned and hashed. Made by `make lock` from pyproject.toml.\n"
SEPARATE = {"torch", "pip"}


def resolve(output: Path, tools: Path) -> None:
    """Run pip-compile in an environment of its own."""
    venv.create(tools, with_pip=True)
    subprocess.run([tools / "bin/pip", "install", "-q", "pip-tools==7.6.2"], check=True)
    command = [tools / "bin/pip-compile", "-q", "--generate-hashes", "--strip-extras", "--allow-unsafe"]
    command += ["--no-emit-index-url", "--no-emit-find-links", "--no-header", "--no-annotate"]
    command += ["--extra", "train", "--extra", "dev", "-o", output, ROOT / "pyproject.toml"]
    subprocess.run(command, check=True, cwd=ROOT)


def keep_locked(text: str) -> str:
    """Only pinned requirements, without torch."""
    blocks = [block for block in re.split(r"\n(?=[A-Za-z])", text) if "==" in block.splitlines()[0]]
    kept = [block.rstrip().rstrip("\\").rstrip() for block in blocks if block.split("==")[0] not in SEPARATE]
    return HEADER + "\n".join(re.sub(r"\n\s*#.*", "", block) for block in kept) + "\n"


def main() -> int:
    """Write the lock file."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "resolved.txt"
        resolve(output, Path(folder) / "tools")
        (ROOT / "requirements/lock.txt").write_text(keep_locked(output.read_text()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
