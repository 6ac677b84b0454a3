"""Memory is read within the tightest of all control groups around this process."""

from __future__ import annotations

import os
from pathlib import Path

from homefire.machine.memory import available_bytes, num_oom_kills, rss_bytes

MIB = 1 << 20


def test_the_tightest_group_of_a_nest_counts(tmp_path: Path) -> None:
    own, meminfo, root = tmp_path / "cgroup", tmp_path / "meminfo", tmp_path / "fs"
    own.write_text("0::/outer/inner\n")
    meminfo.write_text("MemTotal: 999999 kB\nMemAvailable: 512000 kB\n")
    inner = root / "outer" / "inner"
    inner.mkdir(parents=True)
    assert available_bytes(root=root, own=own, meminfo=meminfo) == 500 * MIB
    (inner / "memory.max").write_text("max\n")
    (root / "outer" / "memory.max").write_text(f"{300 * MIB}\n")
    (root / "outer" / "memory.current").write_text(f"{100 * MIB}\n")
    assert available_bytes(root=root, own=own, meminfo=meminfo) == 200 * MIB
    (inner / "memory.max").write_text(f"{50 * MIB}\n")
    (inner / "memory.current").write_text(f"{60 * MIB}\n")
    assert available_bytes(root=root, own=own, meminfo=meminfo) == 0


def test_what_a_process_holds() -> None:
    held = rss_bytes(os.getpid())
    assert held is not None
    assert held > MIB
    assert rss_bytes(2**22 + 1) is None


def test_kills_for_memory_are_counted(tmp_path: Path) -> None:
    file = tmp_path / "vmstat"
    file.write_text("nr_free_pages 12\noom_kill 3\n")
    assert (num_oom_kills(file), num_oom_kills(tmp_path / "nothing")) == (3, 0)
