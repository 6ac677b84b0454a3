"""Fills the virtual environment: torch, the locked packages, another llama.cpp where asked for, Homefire itself.

Promises: every package is one of a requirements file and has a hash that stands there; what does not is refused.
`.venv/.installed` is newer than the requirements only when all of it is there, so `make` takes up an interrupted
installation again.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from tools.setup.builds import REQUIREMENTS, Build, SetupError, choose_llama, choose_torch, packages
from tools.setup.machine import Machine
from tools.setup.progress import Ended, Line, run_counted

STEPS = 4
PIP = ("-m", "pip", "--disable-pip-version-check", "install", "--progress-bar", "off", "--no-input")
LOCKED = ("--no-deps", "--require-hashes")
PATIENCE = ("--retries", "2", "--timeout", "60")
"""For an index that may not be reachable."""


@dataclass
class Installation:
    """One run of the steps."""

    checkout: Path
    out: TextIO
    requirements: Path = REQUIREMENTS

    @property
    def environment(self) -> Path:
        """The virtual environment."""
        return self.checkout / ".venv"

    @property
    def python(self) -> str:
        """Its interpreter."""
        return str(self.environment / "bin" / "python")

    @property
    def log(self) -> Path:
        """Everything pip said."""
        return self.environment / "install.log"

    @property
    def asked(self) -> Path:
        """Which builds were asked for by name."""
        return self.environment / ".asked"

    @property
    def record(self) -> Path:
        """Which builds are installed; its time is what `make` compares."""
        return self.environment / ".installed"

    def run(self, machine: Machine, *, torch: str = "auto", llama: str = "auto") -> None:
        """All steps. `SetupError` says what went wrong."""
        asked = self._asked(torch=torch, xllamacpp=llama)
        torch_build = choose_torch(machine, asked["torch"], folder=self.requirements)
        llama_build = choose_llama(machine, asked["xllamacpp"], folder=self.requirements)
        before = _read_json(self.record)
        self._say(1, "creating .venv")
        self._create()
        self._write(self.asked, asked)
        if before:
            os.utime(self.record, (0, 0))  # what is told of the builds stays; `make` knows it is not complete
        torch_build = self._install_torch(
            torch_build, may_change=asked["torch"] == "auto", before=before.get("torch")
        )
        self._install_locked(llama_build, before=before.get("xllamacpp", "cpu"))
        self._say(4, "installing homefire itself")
        ended = self._quietly([*PIP, "-q", "--no-deps", "--no-build-isolation", "-e", str(self.checkout)])
        self._check(ended, "Homefire itself could not be installed.")
        llama_name = llama_build.name if llama_build else "cpu"
        self._write(self.record, {"torch": torch_build.name, "xllamacpp": llama_name})

    def _asked(self, **wanted: str) -> dict[str, str]:
        """A build that was asked for once stays asked for, until `make clean`: an update must not replace it."""
        earlier = _read_json(self.asked)
        return {
            package: earlier.get(package, "auto") if build == "auto" else build
            for package, build in wanted.items()
        }

    def _write(self, file: Path, builds: dict[str, str]) -> None:
        file.write_text(json.dumps(builds) + "\n", encoding="utf-8")

    def _say(self, step: int, words: str) -> None:
        self.out.write(f"[{step}/{STEPS}] {words}\n")
        self.out.flush()

    def _create(self) -> None:
        if not (self.environment / "bin" / "pip").exists():
            try:
                venv.create(self.environment, with_pip=True, symlinks=True)
            except subprocess.CalledProcessError as error:
                raise SetupError(
                    "Python could not make a virtual environment with pip in it. On Debian and Ubuntu:\n"
                    f"apt install python3.{sys.version_info.minor}-venv"
                ) from error
        self.log.write_text("", encoding="utf-8")

    def _remove(self, names: list[str]) -> None:
        if names:
            uninstall = ("-m", "pip", "--disable-pip-version-check", "uninstall", "-y", "-q", *names)
            self._check(self._quietly(uninstall), "The build installed before could not be removed.")

    def _install_torch(self, build: Build, *, may_change: bool, before: str | None) -> Build:
        self._say(2, f"torch, {build.name} build ({build.why}): {build.download} unless it is here already")
        ended = self._attempt(build, step=2)
        if ended.code and ended.not_found and may_change and build.name == "cpu":
            build = Build(
                "torch", "cuda", self.requirements / "torch-cuda.txt", "the only other with a known hash"
            )
            self._say(
                2,
                "The CPU build was found neither where pip looks nor at its project's index.\n"
                f"      Installing the CUDA build instead: {build.download}; it runs without a GPU too.\n"
                "      To have the CPU build, interrupt this and name a folder or an index that has it:\n"
                "      PIP_FIND_LINKS=… make run TORCH=cpu",
            )
            ended = self._attempt(build, step=2)
        what = f"torch could not be installed ({build.name} build)."
        if ended.not_found:
            what += " It is not where pip looks: name a folder or an index that has it with PIP_FIND_LINKS=…."
        self._check(ended, what)
        if before not in (None, build.name):  # its libraries are of no use to this build, and large
            self._remove(sorted(self._packages("torch", before) - set(packages(build.file))))
        return build

    def _packages(self, package: str, name: str) -> set[str]:
        file = self.requirements / f"{package}-{name}.txt"
        return set(packages(file)) if file.exists() else set()

    def _install_locked(self, llama: Build | None, *, before: str) -> None:
        if llama is None and before != "cpu":
            self._remove(["xllamacpp"])  # pip takes another build of the same version for the locked one
        file = self.requirements / "lock.txt"
        self._check(self._pip(file, step=3), "The locked packages could not be installed.")
        if llama is not None:
            self._say(3, f"llama.cpp, {llama.name} build ({llama.why}): {llama.download}")
            # Only its own index: elsewhere the same version is another build, and pip would stop at its hash.
            index = (*PATIENCE, "--index-url", llama.index) if llama.index else ()
            ended = self._pip(llama.file, step=3, options=("--force-reinstall", *index))
            self._check(ended, f"llama.cpp could not be installed ({llama.name} build).")

    def _attempt(self, build: Build, *, step: int) -> Ended:
        """As pip is configured first (a folder of wheels, a mirror), then with the build's own index."""
        ended = self._pip(build.file, step=step)
        if ended.code and ended.not_found and build.index:
            more = (*PATIENCE, "--extra-index-url", build.index)
            ended = self._pip(build.file, step=step, options=more)
        return ended

    def _pip(self, file: Path, *, step: int, options: tuple[str, ...] = ()) -> Ended:
        line = Line(self.out, f"[{step}/{STEPS}]")
        ended = run_counted(
            [self.python, *PIP, *LOCKED, *options, "-r", str(file)],
            total=len(packages(file)),
            line=line,
            log=self.log,
            site=self._site(),
        )
        total = ended.num_packages
        line.end("" if ended.code else f"{total} of {total} packages installed")
        return ended

    def _site(self) -> Path:
        (found,) = self.environment.glob("lib/python3.*/site-packages")
        return found

    def _quietly(self, arguments: Sequence[str]) -> Ended:
        done = subprocess.run([self.python, *arguments], capture_output=True, text=True)
        lines = (done.stdout + done.stderr).splitlines(keepends=True)
        with self.log.open("a", encoding="utf-8") as log:
            log.writelines(lines)
        return Ended(done.returncode, lines)

    def _check(self, ended: Ended, what: str) -> None:
        if ended.code:
            raise SetupError(f"{what} The end of what pip said (all of it is in {self.log}):\n\n{ended.tail}")


def _read_json(file: Path) -> dict[str, str]:
    """What a file holds; nothing where it is missing or was written by an older Makefile."""
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}
