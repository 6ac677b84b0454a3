"""Tests against a changed file, in a copy of the checkout: the checkout itself is never touched.

Each run is a fork of this process, in which the libraries that the tests use (torch, pytest, hypothesis) are already
imported, so that a run costs what the tests cost. Nothing of homefire is imported here. Child processes that a test
starts find the changed file through PYTHONPATH. Bytecode is checked by the hash of its source, so a changed file
is never confused with what it was.
"""

from __future__ import annotations

import compileall
import importlib
import json
import os
import py_compile
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

OURS = ("homefire", "tests", "tools", "bench", "conftest")
PYTEST = ["-x", "-p", "no:cacheprovider", "-p", "no:xdist", "--tb=no", "-rfE", "--hypothesis-seed=0"]
IGNORE = ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
_POLL_S = 0.02
PASSED, INTERNAL = 0, 3


@dataclass(frozen=True, slots=True)
class Run:
    """How a run ended: pytest's exit code or None for too long, what failed first, and how long it took."""

    code: int | None
    first_failure: str
    seconds: float
    output: str


class Runner:
    """Runs tests in a copy of the checkout."""

    def __init__(self, copy: Path) -> None:
        self.copy = copy

    @contextmanager
    def changed(self, file: Path, text: str) -> Iterator[None]:
        """A file of the copy (relative to it) with other text, put back afterwards."""
        path = self.copy / file
        original = path.read_text()
        path.write_text(text)
        try:
            yield
        finally:
            path.write_text(original)

    def run(self, tests: Sequence[str], *, limit_s: float) -> Run:
        """Run test files in a forked process group, and end all of it when the time is over."""
        with tempfile.TemporaryDirectory() as folder:
            output, imported = Path(folder) / "output", Path(folder) / "imported"
            Path(folder).chmod(0o755)  # PostgreSQL runs as another user
            started = time.monotonic()
            pid = os.fork()
            if pid == 0:
                self._run_tests(tests, output, imported)
            code = _wait(pid, started + limit_s)
            seconds = time.monotonic() - started
            _end_group(pid)
            if code == PASSED and imported.exists():
                _import_all(json.loads(imported.read_text()))
            text = output.read_text(errors="replace") if output.exists() else ""
        failure = re.search(r"^(?:FAILED|ERROR) (\S+)", text, re.MULTILINE)
        return Run(code, failure[1] if failure else "", seconds, text)

    def _run_tests(self, tests: Sequence[str], output: Path, imported: Path) -> None:
        """In the forked process: become a session of its own, run pytest in the copy, never return."""
        code = INTERNAL
        try:
            os.setsid()
            descriptor = os.open(output, os.O_WRONLY | os.O_CREAT)
            for standard in (1, 2):
                os.dup2(descriptor, standard)
            os.chdir(self.copy)
            paths = [str(self.copy / "src"), str(self.copy)]
            sys.path[:0] = paths
            os.environ["PYTHONPATH"] = os.pathsep.join(paths)
            os.environ["TMPDIR"] = tempfile.tempdir = str(output.parent)
            for name in [name for name in sys.modules if name.partition(".")[0] in OURS]:
                del sys.modules[name]
            code = int(pytest.main([*PYTEST, *IGNORE, *tests]))
            known = [name for name in list(sys.modules) if name.partition(".")[0] not in (*OURS, "__main__")]
            imported.write_text(json.dumps(known))
            sys.stdout.flush()
        finally:
            os._exit(code)


@contextmanager
def copied_checkout(root: Path) -> Iterator[Runner]:
    """A copy of what git knows or would add, with its bytecode, removed afterwards."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        capture_output=True,
        check=True,
    )
    with tempfile.TemporaryDirectory(prefix="homefire-mutate-") as folder:
        copy = Path(folder).resolve()
        for name in listed.stdout.decode().split("\0"):
            if name and (root / name).is_file():
                (copy / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(root / name, copy / name)
        by_hash = py_compile.PycInvalidationMode.CHECKED_HASH
        compileall.compile_dir(copy / "src", quiet=2, invalidation_mode=by_hash)
        yield Runner(copy)


def _wait(pid: int, deadline: float) -> int | None:
    """The exit code of a child, or None when it was still running at the deadline."""
    while time.monotonic() < deadline:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(_POLL_S)
    _end_group(pid)
    os.waitpid(pid, 0)
    return None


def _end_group(pid: int) -> None:
    """End what a run left behind: its process group bears the number of its first process."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _import_all(names: Sequence[str]) -> None:
    """Import what the tests needed, so that the next fork has it; what cannot be imported alone stays with them."""
    for name in names:
        if name in sys.modules or name.startswith("_pytest."):
            continue
        try:
            importlib.import_module(name)
        except Exception:  # noqa: BLE001  # a made-up module of a test, a part that wants a process of its own
            continue
