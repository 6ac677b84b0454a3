"""Which build a machine gets, and that every requirements file pins and hashes all it names."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from tools.setup.builds import REQUIREMENTS, SetupError, choose_llama, choose_torch, packages
from tools.setup.machine import Machine

FILES = sorted(REQUIREMENTS.glob("*.txt"))
BLOCK = re.compile(
    r"[A-Za-z0-9._-]+(==|===)[A-Za-z0-9.+]+( ; [^\\\n]+)?( \\\n    --hash=sha256:[0-9a-f]{64})+\n",
    re.MULTILINE,
)
CPU_WHEELS = {
    ("x86_64", "cp311"): "6746dbcbeb526eb61330b76b41ff1b4eb848951103a892eeb080dfa2b264667b",
    ("x86_64", "cp312"): "4ca4a9394b0c771238a4f73590fdbbc4debad85ed0fa63d026ae1b085da7d6e2",
    ("x86_64", "cp313"): "3fbf9c9d1f3c10c2d59d04aca426dee9ccc6ceb32d255c61e93acc3b4f75fae6",
    ("aarch64", "cp311"): "84453b69508ec79902f899c5ed9495acb9e2bbe9fda5f1d5d6f19e3c3842e1a7",
    ("aarch64", "cp312"): "6f307c2c32d764ffc6ff6893b801fad6d4752f3e67966cb8abf1843427c02604",
    ("aarch64", "cp313"): "0b8f7d0423027ae8b90c7977c627f3379f325363a08224dffad9b4b2d684a83d",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Requirements of which only the CPU build of torch is known."""
    (tmp_path / "lock.txt").write_text("xllamacpp==1\n")
    (tmp_path / "torch-cpu.txt").write_text(
        "# index: https://example.org/cpu\n# download: 0.2 GB\ntorch==1+cpu\n"
    )
    return tmp_path


@pytest.mark.parametrize(
    ("machine", "build"),
    [
        (Machine("Linux", "x86_64"), "cpu"),
        (Machine("Linux", "aarch64"), "cpu"),
        (Machine("Linux", "x86_64", gpu="nvidia", driver=580), "cuda"),
        (Machine("Linux", "x86_64", gpu="nvidia", driver=579), "cpu"),
        (Machine("Linux", "x86_64", gpu="nvidia"), "cpu"),
        (Machine("Linux", "x86_64", gpu="amd"), "cpu"),
        (Machine("Darwin", "arm64"), "mps"),
    ],
)
def test_a_machine_gets_its_build_of_torch(machine: Machine, build: str) -> None:
    chosen = choose_torch(machine)
    assert (chosen.name, chosen.file) == (build, REQUIREMENTS / f"torch-{build}.txt")
    assert chosen.file.exists()
    assert chosen.why


def test_what_is_asked_for_is_taken(folder: Path) -> None:
    nvidia = Machine("Linux", "x86_64", gpu="nvidia", driver=600)
    assert choose_torch(nvidia, "cpu", folder=folder).name == "cpu"


def test_a_build_without_known_hashes_is_refused_with_the_way_to_learn_them(folder: Path) -> None:
    with pytest.raises(SetupError, match=r"make hashes BUILD=torch-rocm"):
        choose_torch(Machine("Linux", "x86_64", gpu="amd"), "rocm", folder=folder)
    with pytest.raises(SetupError, match=r"make hashes BUILD=xllamacpp-vulkan"):
        choose_llama(Machine("Linux", "x86_64"), "vulkan", folder=folder)


def test_hashes_that_were_learned_are_chosen_by_machine(folder: Path) -> None:
    amd, nvidia = Machine("Linux", "x86_64", gpu="amd"), Machine("Linux", "x86_64", gpu="nvidia", driver=580)
    assert choose_llama(nvidia, folder=folder) is None
    for name in ("torch-rocm", "xllamacpp-cuda", "xllamacpp-vulkan"):
        (folder / f"{name}.txt").write_text("x==1\n")
    assert choose_torch(amd, folder=folder).name == "rocm"
    chosen = [choose_llama(machine, folder=folder) for machine in (nvidia, amd, Machine("Linux", "x86_64"))]
    assert [build.name if build else "locked" for build in chosen] == ["cuda", "vulkan", "locked"]
    assert choose_llama(nvidia, "cpu", folder=folder) is None


def test_a_build_that_does_not_exist_is_named_with_those_that_do() -> None:
    with pytest.raises(SetupError, match=r"no build 'gpu' of torch. Use one of: auto, cpu, cuda, rocm, mps"):
        choose_torch(Machine("Linux", "x86_64"), "gpu")


def test_a_file_says_where_its_wheels_are_and_how_large(folder: Path) -> None:
    build = choose_torch(Machine("Linux", "x86_64"), folder=folder)
    assert (build.index, build.download) == ("https://example.org/cpu", "0.2 GB")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_everything_in_a_requirements_file_is_pinned_and_hashed(file: Path) -> None:
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    text = "".join(line for line in lines if not line.startswith("#"))
    assert BLOCK.sub("", text) == ""
    assert len(packages(file)) == len(set(packages(file))) == len(BLOCK.findall(text)) > 0


def test_every_file_of_a_build_pins_the_same_torch() -> None:
    project = tomllib.loads((REQUIREMENTS.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (wanted,) = [text for text in project["optional-dependencies"]["train"] if text.startswith("torch==")]
    for file in REQUIREMENTS.glob("torch-*.txt"):
        (pinned,) = re.findall(r"^torch===?([0-9.]+)", file.read_text(encoding="utf-8"), re.MULTILINE)
        assert f"torch=={pinned}" == wanted


@pytest.mark.parametrize("wheel", CPU_WHEELS, ids="-".join)
def test_the_cpu_build_is_known_for_every_processor_and_python(wheel: tuple[str, str]) -> None:
    assert CPU_WHEELS[wheel] in (REQUIREMENTS / "torch-cpu.txt").read_text(encoding="utf-8")


def test_a_cpu_build_does_not_count_as_another() -> None:
    """`==2.13.0` would be satisfied by `2.13.0+cpu`, whose hash is not that of the build that was chosen."""
    for name in ("cuda", "mps"):
        assert "\ntorch===2" in (REQUIREMENTS / f"torch-{name}.txt").read_text(encoding="utf-8")
