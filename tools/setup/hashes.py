"""`make hashes BUILD=…`: the requirements file for a build whose hashes are not known to this project.

Downloads the build, for this machine and this Python, from its project's own index and writes down what came. That is
trust on first use: nothing is installed, and whoever runs it is told to compare the hashes before they count.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

from tools.setup.builds import REQUIREMENTS, SetupError, packages

TORCH_INDEX = "https://download.pytorch.org/whl"
LLAMA_INDEX = "https://xorbitsai.github.io/xllamacpp/whl"
TORCH = "2.13.0"
INDEXES = {
    "torch-rocm": (f"torch=={TORCH}+rocm7.2", f"{TORCH_INDEX}/rocm7.2"),
    "xllamacpp-cuda": ("xllamacpp", f"{LLAMA_INDEX}/cu128"),
    "xllamacpp-vulkan": ("xllamacpp", f"{LLAMA_INDEX}/vulkan"),
    "xllamacpp-rocm": ("xllamacpp", f"{LLAMA_INDEX}/rocm-7.2.4"),
}
"""What to ask which index for; the version of llama.cpp is the locked one."""

Run = Callable[[Sequence[str]], int]


def write_hashes(build: str, *, folder: Path = REQUIREMENTS, run: Run = subprocess.call) -> list[str]:
    """Download a build and write its requirements file; returns what to tell."""
    if build not in INDEXES:
        raise SetupError(f"BUILD must be one of: {', '.join(INDEXES)}. The others have their hashes already.")
    wanted, index = INDEXES[build]
    locked = folder / "lock.txt"
    if "==" not in wanted:
        wanted = _locked_requirement(wanted, locked)
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download"]
        command += ["--only-binary=:all:", "--index-url", index, "-d", scratch, wanted]
        if run(command):
            raise SetupError(f"pip could not download {wanted} from {index}: what it says stands above.")
        wheels = sorted(Path(scratch).glob("*.whl"))
        already = set(packages(locked)) - {"xllamacpp"}
        found: dict[str, list[str]] = defaultdict(list)
        size_bytes = 0
        for wheel in wheels:
            name, version = wheel.name.split("-")[:2]
            if re.sub(r"[-_.]+", "-", name).lower() in already:
                continue
            found[f"{name}=={version}"].append(_sha256(wheel))
            size_bytes += wheel.stat().st_size
    file = folder / f"{build}.txt"
    text = f"# Written by `make hashes BUILD={build}`: what {index} had for one machine and one Python.\n"
    text += f"# index: {index}\n# download: {size_bytes / 1e9:.1f} GB\n"
    for requirement, hashes in sorted(found.items()):
        text += " \\\n".join([requirement, *(f"    --hash=sha256:{value}" for value in hashes)]) + "\n"
    file.write_text(text, encoding="utf-8")
    option, _, name = build.partition("-")
    option = {"torch": "TORCH", "xllamacpp": "LLAMA"}[option]
    return [
        f"{file} holds the hashes of what was downloaded; nothing was installed.",
        "They prove nothing yet: compare them with those that the project publishes. Then:",
        f"  make run {option}={name}",
    ]


def _locked_requirement(name: str, locked: Path) -> str:
    found = re.search(rf"^{name}==[^\s\\]+", locked.read_text(encoding="utf-8"), re.MULTILINE)
    assert found is not None, f"{name} is not locked"
    return found[0]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
