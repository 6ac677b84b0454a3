"""A whole installation from a folder of tiny wheels: what is installed, what is refused, what is chosen instead."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import shutil
import venv
import zipfile
from pathlib import Path

import pytest
from tools.setup.builds import SetupError
from tools.setup.install import Installation
from tools.setup.machine import Machine

PC = Machine("Linux", "x86_64")
GPU = Machine("Linux", "x86_64", gpu="nvidia", driver=580)
BACKEND = """
import pathlib, zipfile


def build_editable(folder, settings=None, metadata=None):
    name = "homefire-1-py3-none-any.whl"
    with zipfile.ZipFile(pathlib.Path(folder) / name, "w") as wheel:
        wheel.writestr("homefire-1.dist-info/METADATA", "Metadata-Version: 2.1\\nName: homefire\\nVersion: 1\\n")
        wheel.writestr("homefire-1.dist-info/WHEEL", "Wheel-Version: 1.0\\nTag: py3-none-any\\n")
        wheel.writestr("homefire-1.dist-info/RECORD", "")
    return name
"""


def make_wheel(folder: Path, name: str, version: str) -> str:
    """An empty package; returns its hash."""
    folder.mkdir(parents=True, exist_ok=True)
    info = f"{name}-{version}.dist-info"
    files = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = ""
    for path, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        record += f"{path},sha256={digest},{len(text)}\n"
    wheel = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in {**files, f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}.items():
            archive.writestr(path, text)
    return hashlib.sha256(wheel.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def empty_environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Making one costs seconds, copying it does not."""
    place = tmp_path_factory.mktemp("environment") / ".venv"
    venv.create(place, with_pip=True, symlinks=True)
    return place


class Bench:
    """A checkout, a folder of wheels and the requirements of a lock with two packages."""

    def __init__(self, root: Path, environment: Path) -> None:
        self.checkout, self.wheels, self.elsewhere = root / "checkout", root / "wheels", root / "index"
        self.requirements = self.checkout / "requirements"
        self.requirements.mkdir(parents=True)
        (self.checkout / "pyproject.toml").write_text(
            '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        )
        (self.checkout / "backend.py").write_text(BACKEND)
        shutil.copytree(environment, self.checkout / ".venv", symlinks=True)
        self.require("lock", {"alpha": "1", "xllamacpp": "1"})
        self.require(
            "torch-cpu", {"torch": "2+cpu"}, f"# index: {self.elsewhere.as_uri()}\n# download: 0.2 GB\n"
        )
        self.require("torch-cuda", {"torch": "2", "cudalib": "1"}, "# download: 2.7 GB\n")
        self.out = io.StringIO()

    def require(self, file: str, packages: dict[str, str], head: str = "") -> None:
        """A requirements file, and the wheels it names."""
        text = head
        for name, version in packages.items():
            pin = "===" if name == "torch" and "+" not in version else "=="
            text += f"{name}{pin}{version} --hash=sha256:{make_wheel(self.wheels, name, version)}\n"
        (self.requirements / f"{file}.txt").write_text(text)

    def install(self, machine: Machine = PC, **builds: str) -> None:
        self.out = io.StringIO()
        Installation(self.checkout, self.out, self.requirements).run(machine, **builds)

    def installed(self) -> dict[str, str]:
        """Name and version of what is in the environment, but for what came with it."""
        found = self.checkout.glob(".venv/lib/python3.*/site-packages/*.dist-info")
        packages = dict(path.name.removesuffix(".dist-info").split("-") for path in found)
        return {name: version for name, version in packages.items() if name not in {"pip", "setuptools"}}

    @property
    def record(self) -> Path:
        return self.checkout / ".venv" / ".installed"


@pytest.fixture
def bench(tmp_path: Path, empty_environment: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    made = Bench(tmp_path, empty_environment)
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", (tmp_path / "nothing").as_uri())  # no test asks a network
    monkeypatch.setenv("PIP_FIND_LINKS", str(made.wheels))
    return made


def test_everything_is_installed_and_recorded(bench: Bench) -> None:
    bench.install()
    assert bench.installed() == {"alpha": "1", "xllamacpp": "1", "torch": "2+cpu", "homefire": "1"}
    assert json.loads(bench.record.read_text()) == {"torch": "cpu", "xllamacpp": "cpu"}
    told = bench.out.getvalue()
    assert "[2/4] torch, cpu build (for the CPU: no GPU was found): 0.2 GB" in told
    assert "[3/4] 2 of 2 packages installed\n[4/4] installing homefire itself\n" in told
    assert len(told.splitlines()) < 12


def test_a_gpu_gets_its_build_with_its_libraries(bench: Bench) -> None:
    bench.install(GPU)
    assert bench.installed()["torch"] == "2"
    assert "cudalib" in bench.installed()


def test_a_wrong_hash_installs_nothing_and_is_no_reason_to_take_another_build(bench: Bench) -> None:
    file = bench.requirements / "torch-cpu.txt"
    file.write_text(file.read_text()[:-3] + "00\n")
    with pytest.raises(SetupError, match="DO NOT MATCH THE HASHES"):
        bench.install()
    assert bench.installed() == {}
    assert not bench.record.exists()
    assert "2.7 GB" not in bench.out.getvalue()


def test_a_requirement_without_hash_is_refused(bench: Bench) -> None:
    (bench.requirements / "lock.txt").write_text("alpha==1\n")
    with pytest.raises(SetupError, match="require-hashes"):
        bench.install()
    assert "alpha" not in bench.installed()


def test_the_index_of_the_build_is_asked_where_pip_finds_nothing(bench: Bench) -> None:
    page = bench.elsewhere / "torch"
    page.mkdir(parents=True)
    wheel = bench.wheels / "torch-2+cpu-py3-none-any.whl"
    (page / "index.html").write_text(
        f'<!DOCTYPE html><html><body><a href="{wheel.name}">{wheel.name}</a></body></html>'
    )
    wheel.rename(page / wheel.name)
    bench.install()
    assert bench.installed()["torch"] == "2+cpu"


def test_where_the_cpu_build_cannot_be_had_the_one_with_a_known_hash_is_taken_and_said(bench: Bench) -> None:
    (bench.wheels / "torch-2+cpu-py3-none-any.whl").unlink()
    bench.install()
    assert bench.installed()["torch"] == "2"
    assert json.loads(bench.record.read_text())["torch"] == "cuda"
    assert "Installing the CUDA build instead: 2.7 GB" in bench.out.getvalue()


def test_a_build_that_was_asked_for_is_never_replaced_by_another(bench: Bench) -> None:
    (bench.wheels / "torch-2+cpu-py3-none-any.whl").unlink()
    with pytest.raises(SetupError, match="No matching distribution"):
        bench.install(torch="cpu")
    assert bench.installed() == {}


def test_another_build_leaves_nothing_of_the_old_one_and_survives_an_update(bench: Bench) -> None:
    bench.install(GPU)
    bench.install(GPU, torch="cpu")
    assert bench.installed()["torch"] == "2+cpu"
    assert "cudalib" not in bench.installed()
    bench.install(GPU)
    assert bench.installed()["torch"] == "2+cpu"


def test_another_llama_replaces_the_locked_one_and_gives_way_to_it(bench: Bench) -> None:
    page = bench.elsewhere / "xllamacpp"
    make_wheel(page, "xllamacpp", "1")
    with zipfile.ZipFile(page / "xllamacpp-1-py3-none-any.whl", "a") as archive:
        archive.writestr("with_gpu.py", "")
    digest = hashlib.sha256((page / "xllamacpp-1-py3-none-any.whl").read_bytes()).hexdigest()
    (page / "index.html").write_text(
        '<a href="xllamacpp-1-py3-none-any.whl">xllamacpp-1-py3-none-any.whl</a>'
    )
    (bench.requirements / "xllamacpp-vulkan.txt").write_text(
        f"# index: {bench.elsewhere.as_uri()}\nxllamacpp==1 --hash=sha256:{digest}\n"
    )
    gpu_file = next(bench.checkout.glob(".venv/lib/python3.*/site-packages")) / "with_gpu.py"
    bench.install(llama="vulkan")
    assert gpu_file.exists()
    bench.install(llama="cpu")
    assert not gpu_file.exists()
    assert bench.installed()["xllamacpp"] == "1"


def test_an_installation_that_failed_is_not_taken_for_complete(bench: Bench) -> None:
    """`make` compares times, and a build that is asked for changes no file."""
    bench.install()
    an_hour_ago = bench.record.stat().st_mtime - 3600
    for file in bench.requirements.iterdir():
        os.utime(file, (an_hour_ago, an_hour_ago))
    wheel = bench.wheels / "cudalib-1-py3-none-any.whl"
    wheel.rename(bench.checkout / wheel.name)
    with pytest.raises(SetupError, match="cudalib"):
        bench.install(torch="cuda")
    assert bench.record.stat().st_mtime < an_hour_ago
    (bench.checkout / wheel.name).rename(wheel)
    bench.install()
    assert bench.record.stat().st_mtime > an_hour_ago
    assert bench.installed()["torch"] == "2"
