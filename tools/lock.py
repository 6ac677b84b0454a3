"""Resolve pyproject.toml into requirements/lock.txt, every package but torch, with hashes.

Run with `make lock`. torch is pinned by hand in requirements/torch-*.txt, because which build is right depends on
the machine. What was resolved is then asked for as each of the machines and Pythons in `TARGETS` would ask: a package
without a hashed wheel for one of them is an error (about three minutes; `tools/lock.py --check` does only this).
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
HEADER = "# Every package but torch, pinned and hashed. Made by `make lock` from pyproject.toml.\n"
SEPARATE = {"torch", "pip"}
PYTHONS = ("3.11", "3.12", "3.13")
GLIBC = ("_2_28", "_2_27", "_2_26", "_2_24", "_2_17", "2014", "_2_12", "2010", "_2_5", "1")
MACOS = ("14_0_arm64", "13_0_arm64", "12_0_arm64", "11_0_arm64", "11_0_universal2", "10_9_universal2")


@dataclass(frozen=True, slots=True)
class Target:
    """A machine that the lock must serve, and the tags of the wheels it takes (Debian 12's glibc and older)."""

    system: str
    processor: str
    tags: tuple[str, ...]


TARGETS = (
    Target("linux", "x86_64", tuple(f"manylinux{version}_x86_64" for version in GLIBC)),
    Target("linux", "aarch64", tuple(f"manylinux{version}_aarch64" for version in GLIBC)),
    Target("darwin", "arm64", tuple(f"macosx_{version}" for version in MACOS)),
)


def resolve(output: Path, tools: Path) -> None:
    """Run pip-compile in an environment of its own."""
    venv.create(tools, with_pip=True)
    subprocess.run([tools / "bin/pip", "install", "-q", "pip-tools==7.6.2"], check=True)
    command = [tools / "bin/pip-compile", "-q", "--generate-hashes", "--strip-extras", "--allow-unsafe"]
    command += ["--no-emit-index-url", "--no-emit-find-links", "--no-header", "--no-annotate"]
    command += [
        "--extra",
        "train",
        "--extra",
        "postgres",
        "--extra",
        "dev",
        "-o",
        output,
        ROOT / "pyproject.toml",
    ]
    subprocess.run(command, check=True, cwd=ROOT)


def keep_locked(text: str) -> str:
    """Only pinned requirements, without torch."""
    blocks = [block for block in re.split(r"\n(?=[A-Za-z])", text) if "==" in block.splitlines()[0]]
    kept = [block.rstrip().rstrip("\\").rstrip() for block in blocks if block.split("==")[0] not in SEPARATE]
    return HEADER + "\n".join(re.sub(r"\n\s*#.*", "", block) for block in kept) + "\n"


def blocks_for(text: str, target: Target, python: str) -> str:
    """The requirements that count on a target: pip would ask this machine about the markers, not the target."""
    marks = {"sys_platform": target.system, "platform_machine": target.processor, "python_version": python}
    kept = []
    for block in re.split(r"\n(?=[A-Za-z])", text):
        head = block.splitlines()[0].rstrip("\\ ")
        if not head or head.startswith("#"):
            continue
        marker = Requirement(head).marker
        if marker is None or marker.evaluate(marks):
            kept.append(re.sub(r" ; [^\\]+", " ", block, count=1) if marker else block)
    return "\n".join(kept) + "\n"


def missing_wheels(lock: Path) -> Iterator[str]:
    """What pip says where a target finds no wheel with one of the hashes; nothing where all is well."""
    for target in TARGETS:
        for python in PYTHONS:
            with tempfile.TemporaryDirectory() as folder:
                wanted = Path(folder) / "lock.txt"
                wanted.write_text(blocks_for(lock.read_text(), target, python))
                command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "-q"]
                command += ["--no-deps", "--require-hashes", "--only-binary=:all:", "--implementation", "cp"]
                command += ["--python-version", python, "-d", folder, "-r", str(wanted)]
                command += [word for tag in target.tags for word in ("--platform", tag)]
                done = subprocess.run(command, capture_output=True, text=True)
            name = f"{target.system} {target.processor}, Python {python}"
            sys.stdout.write(f"{name}: {'no wheel' if done.returncode else 'every package has a wheel'}\n")
            sys.stdout.flush()
            if done.returncode:
                yield f"{name}:\n{done.stderr}"


def main(arguments: list[str]) -> int:
    """Write the lock file (not with `--check`), and see that it serves every target."""
    lock = ROOT / "requirements/lock.txt"
    if "--check" not in arguments:
        with tempfile.TemporaryDirectory() as folder:
            output = Path(folder) / "resolved.txt"
            resolve(output, Path(folder) / "tools")
            lock.write_text(keep_locked(output.read_text()))
    missing = list(missing_wheels(lock))
    sys.stderr.write("\n".join(missing))
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
