"""What of the lock counts on which machine, and what of a resolution is kept."""

from __future__ import annotations

from pathlib import Path

import pytest
from tools.lock import TARGETS, Target, blocks_for, keep_locked, missing_wheels

LOCK = """\
# A comment.
alpha==1 \\
    --hash=sha256:aa \\
    --hash=sha256:bb
beta==2 ; sys_platform != "linux" or platform_machine != "aarch64" \\
    --hash=sha256:cc
gamma==3 ; python_version < "3.12" \\
    --hash=sha256:dd
"""
PC, ARM, MAC = TARGETS


@pytest.mark.parametrize(
    ("target", "python", "names"),
    [(PC, "3.11", ["alpha", "beta", "gamma"]), (ARM, "3.13", ["alpha"]), (MAC, "3.12", ["alpha", "beta"])],
)
def test_a_target_is_asked_only_for_what_it_needs(target: Target, python: str, names: list[str]) -> None:
    text = blocks_for(LOCK, target, python)
    assert [line.split("==")[0] for line in text.splitlines() if "==" in line] == names
    assert ";" not in text
    assert "--hash=sha256:aa \\\n    --hash=sha256:bb\n" in text


def test_torch_and_pip_are_not_locked_here() -> None:
    resolved = (
        "--some-option\ntorch==2 \\\n    --hash=sha256:aa\nzeta==1 \\\n    --hash=sha256:bb\n    # via x\n"
    )
    kept = keep_locked(resolved)
    assert "torch==2" not in kept
    assert kept.endswith("zeta==1 \\\n    --hash=sha256:bb\n")


def test_a_package_without_a_wheel_is_named_with_the_target(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setattr("tools.lock.TARGETS", (ARM,))
    monkeypatch.setattr("tools.lock.PYTHONS", ("3.12",))
    lock = tmp_path / "lock.txt"
    lock.write_text("alpha==1 \\\n    --hash=sha256:" + "0" * 64 + "\n")
    (told,) = missing_wheels(lock)
    assert told.startswith("linux aarch64, Python 3.12:")
    assert "alpha==1" in told
    assert "no wheel" in capsys.readouterr().out
