"""Which builds to install: one requirements file for each, with the hash of every wheel it may bring.

`requirements/torch-BUILD.txt` and `requirements/xllamacpp-BUILD.txt`; llama.cpp's CPU build (on macOS it has Metal)
stands in `requirements/lock.txt`. A build without such a file has no known hash and is not installed: the choice
falls to one that has, and says so. A file may begin with `# index: URL` (where its wheels are when pip, as it is
configured, does not find them) and `# download: 2.7 GB`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tools.setup.machine import Machine

REQUIREMENTS = Path(__file__).resolve().parents[2] / "requirements"
TORCH_BUILDS = ("cpu", "cuda", "rocm", "mps")
LLAMA_BUILDS = ("cpu", "cuda", "vulkan", "rocm")
OLDEST_CUDA_DRIVER = 580
"""The first driver that runs CUDA 13, which the CUDA build is made with."""

_HEADER = re.compile(r"^# (?P<key>index|download): (?P<value>.+)$", re.MULTILINE)
_PACKAGE = re.compile(r"^(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)===?(?P<version>[^\s;\\]+)", re.MULTILINE)


class SetupError(Exception):
    """What happened and what to do, for the person who ran `make`."""


@dataclass(frozen=True, slots=True)
class Build:
    """One way to install a package."""

    package: str
    name: str
    file: Path
    why: str

    @property
    def index(self) -> str | None:
        """Where the wheels are, besides where pip looks by itself."""
        return self._header("index")

    @property
    def download(self) -> str:
        """How much comes over the network, in words."""
        return self._header("download") or "an unknown amount"

    def _header(self, key: str) -> str | None:
        for found in _HEADER.finditer(self.file.read_text(encoding="utf-8")):
            if found["key"] == key:
                return found["value"].strip()
        return None


def packages(file: Path) -> list[str]:
    """The names of the packages of a requirements file, normalised."""
    return [
        re.sub(r"[-_.]+", "-", found["name"]).lower()
        for found in _PACKAGE.finditer(file.read_text(encoding="utf-8"))
    ]


def choose_torch(machine: Machine, wanted: str = "auto", *, folder: Path = REQUIREMENTS) -> Build:
    """The build of torch for this machine, or the one that was asked for."""
    if wanted != "auto":
        return _asked("torch", wanted, TORCH_BUILDS, folder)
    name, why = _torch_for(machine, folder)
    return Build("torch", name, folder / f"torch-{name}.txt", why)


def _torch_for(machine: Machine, folder: Path) -> tuple[str, str]:
    if machine.system == "Darwin":
        return "mps", "for Apple silicon"
    if machine.gpu == "nvidia":
        if machine.driver is not None and machine.driver >= OLDEST_CUDA_DRIVER:
            return "cuda", f"for an NVIDIA GPU, driver {machine.driver}"
        return "cpu", f"for the CPU: NVIDIA's driver {machine.driver} is older than {OLDEST_CUDA_DRIVER}"
    if machine.gpu == "amd":
        if (folder / "torch-rocm.txt").exists():
            return "rocm", "for an AMD GPU"
        return "cpu", "for the CPU: no hash is known for the ROCm build, see docs/guides/install.md"
    return "cpu", "for the CPU: no GPU was found"


def choose_llama(machine: Machine, wanted: str = "auto", *, folder: Path = REQUIREMENTS) -> Build | None:
    """The build of llama.cpp that replaces the locked one; None where the locked one is right."""
    if wanted == "cpu":
        return None
    if wanted != "auto":
        return _asked("xllamacpp", wanted, LLAMA_BUILDS, folder)
    for name in {"nvidia": ("cuda", "vulkan"), "amd": ("rocm", "vulkan")}.get(machine.gpu or "", ()):
        file = folder / f"xllamacpp-{name}.txt"
        if file.exists():
            return Build("xllamacpp", name, file, f"for the {machine.gpu} GPU")
    return None


def _asked(package: str, name: str, known: tuple[str, ...], folder: Path) -> Build:
    if name not in known:
        raise SetupError(f"There is no build {name!r} of {package}. Use one of: auto, {', '.join(known)}.")
    file = folder / f"{package}-{name}.txt"
    if not file.exists():
        raise SetupError(
            f"No hash is known for the {name} build of {package}, and nothing is installed without one.\n"
            f"`make hashes BUILD={package}-{name}` downloads it from its project's index and writes the hashes to\n"
            f"requirements/{file.name}; compare them with what the project publishes, then run this again."
        )
    return Build(package, name, file, "as asked for")
