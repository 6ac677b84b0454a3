"""Memory, as it is for this process and its children: what is free, what one of them holds, who was killed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from homefire.machine.probe import CGROUP_ROOT, OWN_CGROUP, read_limits

_MEMINFO = Path("/proc/meminfo")
_VMSTAT = Path("/proc/vmstat")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def available_bytes(*, root: Path = CGROUP_ROOT, own: Path = OWN_CGROUP, meminfo: Path = _MEMINFO) -> int:
    """What could be taken without swapping: the machine's, within the tightest of all control groups around."""
    found = [
        int(line.split()[1]) * 1024
        for line in (meminfo.read_text(encoding="ascii").splitlines() if meminfo.exists() else ())
        if line.startswith("MemAvailable:")
    ]
    limits = read_limits(root=root, own=own)
    if limits.memory_bytes is not None:
        found.append(max(0, limits.memory_bytes - (limits.memory_used_bytes or 0)))
    return min(found) if found else os.sysconf("SC_PHYS_PAGES") * _PAGE_BYTES


def gpu_available_bytes(*, timeout_s: float = 5.0) -> int | None:
    """What is free on the first NVIDIA GPU; None where there is none, or its driver's tool does not answer."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    query = (tool, "--query-gpu=memory.free", "--format=csv,noheader,nounits")
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=timeout_s, check=True).stdout
        return int(answer.split("\n")[0]) << 20
    except (OSError, subprocess.SubprocessError, ValueError):
        return None


def rss_bytes(pid: int) -> int | None:
    """What a process holds in memory, shared pages of files included; None when it is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * _PAGE_BYTES
    except (OSError, IndexError):
        return None


def num_oom_kills(path: Path = _VMSTAT) -> int:
    """How many processes this kernel killed for memory since it started; 0 where that cannot be known."""
    if not path.exists():
        return 0
    for line in path.read_text(encoding="ascii").splitlines():
        name, _, value = line.partition(" ")
        if name == "oom_kill":
            return int(value)
    return 0
