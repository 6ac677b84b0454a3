"""What decides between the builds of torch and llama.cpp: the system, the processor, the GPU and its driver.

Reads a few files and asks `nvidia-smi` at most once; changes nothing. Everything is looked up below `root`, so that
tests can describe a machine by a folder.
"""

from __future__ import annotations

import platform
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

_DRIVER = re.compile(r"\b(?P<major>\d{3,4})\.\d+(?:\.\d+)?\b")
_SMI_PLACES = ("usr/bin/nvidia-smi", "usr/lib/wsl/lib/nvidia-smi")


@dataclass(frozen=True, slots=True)
class Machine:
    """What the choice depends on."""

    system: str
    """As `platform.system()` gives it: Linux, Darwin, …"""
    processor: str
    """x86_64, aarch64 or arm64."""
    gpu: str | None = None
    """nvidia, amd or None."""
    driver: int | None = None
    """Major version of NVIDIA's driver; None where it is not known."""


def detect(root: Path = Path("/")) -> Machine:
    """Look at this machine. A GPU counts only where this process can open it, so not every container's host's."""
    system, processor = platform.system(), platform.machine()
    if system != "Linux":
        return Machine(system, processor)
    driver = _nvidia_driver(root)
    if driver is not None:
        return Machine(system, processor, gpu="nvidia", driver=driver)
    if (root / "dev/kfd").exists():
        return Machine(system, processor, gpu="amd")
    return Machine(system, processor)


def _nvidia_driver(root: Path) -> int | None:
    version = root / "proc/driver/nvidia/version"
    if (root / "dev/nvidiactl").exists() and version.is_file():
        return _major(version.read_text(encoding="utf-8", errors="replace"))
    if not (
        root / "dev/dxg"
    ).exists():  # a Linux inside Windows has its GPU there, and no file with the version
        return None
    for place in _SMI_PLACES:
        if (root / place).exists():
            return _ask(root / place)
    return None


def _ask(smi: Path) -> int | None:
    try:
        done = subprocess.run(
            [smi, "--query-gpu=driver_version", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=30,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return _major(done.stdout) if done.returncode == 0 else None


def _major(text: str) -> int | None:
    found = _DRIVER.search(text)
    return int(found["major"]) if found else None
