"""What a machine is taken for, described by a folder of the files that tell it."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest
from tools.setup.machine import Machine, detect

PROPRIETARY = (
    "NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.86.15  Thu Jan 23 01:11:44 UTC 2025\nGCC version: 12"
)
OPEN = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.82.07  Release Build  (root)\n"


@pytest.fixture
def linux(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")


def write(root: Path, path: str, text: str = "") -> Path:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


@pytest.mark.usefixtures("linux")
class TestLinux:
    def test_nothing_special_is_a_machine_without_gpu(self, tmp_path: Path) -> None:
        assert detect(tmp_path) == Machine("Linux", "x86_64")

    @pytest.mark.parametrize(("text", "driver"), [(PROPRIETARY, 570), (OPEN, 580)])
    def test_the_nvidia_driver_is_read(self, tmp_path: Path, text: str, driver: int) -> None:
        write(tmp_path, "dev/nvidiactl")
        write(tmp_path, "proc/driver/nvidia/version", text)
        assert detect(tmp_path) == Machine("Linux", "x86_64", gpu="nvidia", driver=driver)

    def test_a_gpu_of_the_host_that_a_container_cannot_open_does_not_count(self, tmp_path: Path) -> None:
        write(tmp_path, "proc/driver/nvidia/version", OPEN)
        assert detect(tmp_path).gpu is None

    def test_inside_windows_nvidia_smi_is_asked(self, tmp_path: Path) -> None:
        write(tmp_path, "dev/dxg")
        write(tmp_path, "usr/lib/wsl/lib/nvidia-smi", "#!/bin/sh\necho 581.29\n").chmod(0o755)
        assert detect(tmp_path) == Machine("Linux", "x86_64", gpu="nvidia", driver=581)

    def test_nvidia_smi_that_fails_is_no_gpu(self, tmp_path: Path) -> None:
        write(tmp_path, "dev/dxg")
        write(tmp_path, "usr/bin/nvidia-smi", "#!/bin/sh\necho 581.29\nexit 9\n").chmod(0o755)
        assert detect(tmp_path).gpu is None

    def test_amd_is_known_by_its_device(self, tmp_path: Path) -> None:
        write(tmp_path, "dev/kfd")
        assert detect(tmp_path).gpu == "amd"


def test_other_systems_are_not_searched_for_linux_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    write(tmp_path, "dev/kfd")
    assert detect(tmp_path) == Machine("Darwin", "arm64")
