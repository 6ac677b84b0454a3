"""The figures are this machine's; a container's limits are found in both kinds of control groups."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from homefire.machine import probe as probing
from homefire.machine.probe import Limits, probe, read_limits


def lay(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n")


def limits(tmp_path: Path, membership: str, files: dict[str, str]) -> Limits:
    lay(tmp_path, {"own": membership} | {f"cgroup/{name}": text for name, text in files.items()})
    return read_limits(root=tmp_path / "cgroup", own=tmp_path / "own")


def test_the_figures_are_this_machines(tmp_path: Path) -> None:
    machine = probe(tmp_path)
    assert machine.num_cores == os.cpu_count()
    assert 1 <= machine.num_usable_cores <= machine.num_cores
    assert machine.memory_bytes == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert 0 < machine.available_bytes <= machine.memory_bytes
    assert machine.disk_total_bytes == shutil.disk_usage(tmp_path).total
    assert machine.python.startswith("3.")
    assert machine.sqlite.startswith("3.")


def test_no_control_groups_means_no_limits(tmp_path: Path) -> None:
    assert read_limits(root=tmp_path, own=tmp_path / "none") == Limits(None, None, None)


def test_limits_of_version_2_are_the_tightest_on_the_way_up(tmp_path: Path) -> None:
    found = limits(
        tmp_path,
        "0::/outer/inner",
        {
            "outer/cpu.max": "150000 100000",
            "outer/memory.max": "1000",
            "outer/memory.current": "400",
            "outer/inner/cpu.max": "max 100000",
            "outer/inner/memory.max": "4000",
            "outer/inner/memory.current": "300",
        },
    )
    assert found == Limits(1.5, 1000, 400)


def test_limits_of_version_1_come_from_each_controller(tmp_path: Path) -> None:
    found = limits(
        tmp_path,
        "5:memory:/box\n3:cpu,cpuacct:/box\n2:cpuset:/other",
        {
            "cpu/box/cpu.cfs_quota_us": "50000",
            "cpu/box/cpu.cfs_period_us": "100000",
            "cpu/cpu.cfs_quota_us": "-1",
            "cpu/cpu.cfs_period_us": "100000",
            "memory/box/memory.limit_in_bytes": "2048",
            "memory/box/memory.usage_in_bytes": "48",
            "memory/memory.limit_in_bytes": "9223372036854771712",
        },
    )
    assert found == Limits(0.5, 2048, 48)


@pytest.mark.parametrize(
    ("limit", "used", "seen", "available"), [(10_000, 4_000, 10_000, 6_000), (1 << 59, 0, None, None)]
)
def test_what_is_available_stays_within_the_container(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    limit: int,
    used: int,
    seen: int | None,
    available: int | None,
) -> None:
    monkeypatch.setattr(probing, "read_limits", lambda: Limits(None, limit, used))
    machine = probe(tmp_path)
    assert machine.memory_limit_bytes == seen
    if available is not None:
        assert machine.available_bytes == available
