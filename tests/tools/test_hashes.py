"""The hashes of a build that is not known are written down, and nothing is installed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import pytest
from tools.setup.builds import Build, SetupError, packages
from tools.setup.hashes import INDEXES, TORCH, write_hashes

from tests.tools.test_builds import REQUIREMENTS


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "lock.txt").write_text(
        "sympy==1.14.0 \\\n    --hash=sha256:0\nxllamacpp==7 \\\n    --hash=sha256:0\n"
    )
    return tmp_path


class Downloads:
    """In place of pip: puts files where it is told to."""

    def __init__(self, *names: str, code: int = 0) -> None:
        self.names, self.code = names, code
        self.command: list[str] = []

    def __call__(self, command: Sequence[str]) -> int:
        self.command = [str(word) for word in command]
        for name in self.names:
            (Path(self.command[self.command.index("-d") + 1]) / name).write_bytes(name.encode())
        return self.code


def test_what_came_is_hashed_but_for_what_is_locked_already(folder: Path) -> None:
    run = Downloads(
        "torch-2.13.0+rocm7.2-cp311-cp311-linux_x86_64.whl",
        "triton_rocm-3.7.1-cp311-cp311-linux_x86_64.whl",
        "sympy-1.14.0-py3-none-any.whl",
    )
    told = write_hashes("torch-rocm", folder=folder, run=run)
    file = folder / "torch-rocm.txt"
    assert packages(file) == ["torch", "triton-rocm"]
    for name in run.names[:2]:
        assert f"--hash=sha256:{hashlib.sha256(name.encode()).hexdigest()}" in file.read_text()
    assert Build("torch", "rocm", file, "").index == INDEXES["torch-rocm"][1]
    assert "download" in run.command
    assert "install" not in run.command
    assert "compare them" in told[1]
    assert "make run TORCH=rocm" in told[2]


def test_the_locked_version_of_llama_is_asked_for(folder: Path) -> None:
    run = Downloads("xllamacpp-7-cp310-abi3-linux_x86_64.whl")
    told = write_hashes("xllamacpp-vulkan", folder=folder, run=run)
    assert run.command[-1] == "xllamacpp==7"
    assert packages(folder / "xllamacpp-vulkan.txt") == ["xllamacpp"]
    assert "LLAMA=vulkan" in told[2]


def test_a_download_that_fails_writes_nothing(folder: Path) -> None:
    with pytest.raises(SetupError, match="could not download"):
        write_hashes("xllamacpp-cuda", folder=folder, run=Downloads(code=1))
    assert not (folder / "xllamacpp-cuda.txt").exists()


def test_a_build_whose_hashes_are_known_is_not_learned_again(folder: Path) -> None:
    with pytest.raises(SetupError, match="BUILD must be one of: torch-rocm"):
        write_hashes("torch-cpu", folder=folder, run=Downloads())
    for build in INDEXES:
        assert not (REQUIREMENTS / f"{build}.txt").exists()


def test_the_rocm_build_is_of_the_torch_that_is_locked() -> None:
    assert f"torch=={TORCH}+cpu" in (REQUIREMENTS / "torch-cpu.txt").read_text(encoding="utf-8")
