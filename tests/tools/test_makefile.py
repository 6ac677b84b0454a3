"""When `make` installs, and when it leaves what is there alone."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="there is no make here")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout that was installed a minute ago, with the CPU builds."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(ROOT / "requirements", tmp_path / "requirements")
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / ".installed").write_text('{"torch": "cpu", "xllamacpp": "cpu"}\n')
    long_ago = time.time() - 3600
    for path in (tmp_path / "pyproject.toml", *(tmp_path / "requirements").iterdir()):
        os.utime(path, (long_ago, long_ago))
    return tmp_path


def planned(checkout: Path, *words: str) -> str:
    """What `make` would do."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.check_output(["make", "-n", *words], cwd=checkout, text=True, env=environ)


@pytest.mark.parametrize("words", [(), ("TORCH=cpu",), ("TORCH=cpu", "LLAMA=cpu"), ("TORCH=auto",)])
def test_what_is_installed_is_left_alone(checkout: Path, words: tuple[str, ...]) -> None:
    assert "tools.setup install" not in planned(checkout, "run", *words)


@pytest.mark.parametrize(
    ("word", "option"),
    [("TORCH=cuda", "--torch cuda --llama auto"), ("LLAMA=vulkan", "--torch auto --llama vulkan")],
)
def test_another_build_is_installed(checkout: Path, word: str, option: str) -> None:
    assert f"tools.setup install {option}" in planned(checkout, "run", word)


@pytest.mark.parametrize("file", ["requirements/lock.txt", "requirements/torch-cuda.txt", "pyproject.toml"])
def test_a_changed_lock_is_installed(checkout: Path, file: str) -> None:
    later = time.time() + 60
    os.utime(checkout / file, (later, later))
    assert "tools.setup install --torch auto --llama auto" in planned(checkout, "run")


def test_a_fresh_checkout_is_installed_before_anything_runs(checkout: Path) -> None:
    shutil.rmtree(checkout / ".venv")
    for target in ("run", "install", "test", "check", "demo"):
        lines = planned(checkout, target).splitlines()
        (place,) = [number for number, line in enumerate(lines) if "tools.setup install" in line]
        assert not any(".venv/bin/" in line for line in lines[:place])


def test_tests_get_their_browser_first(checkout: Path) -> None:
    lines = planned(checkout, "test").splitlines()
    assert lines.index("tools/system_packages.sh") < next(
        number for number, line in enumerate(lines) if line.startswith(".venv/bin/pytest ")
    )
