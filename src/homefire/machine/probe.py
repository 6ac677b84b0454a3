"""What this machine has, as it is for this process: cores, memory, disk, and the limits of its container.

Read-only and without privileges; a figure that cannot be read is None, never a guess. A container's limits
(control groups, versions 1 and 2) are given beside the machine's own figures, because they are what counts. About
a millisecond; psutil is imported at the first call.
"""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from homefire.store.driver import driver

CGROUP_ROOT = Path("/sys/fs/cgroup")
OWN_CGROUP = Path("/proc/self/cgroup")
NO_LIMIT_BYTES = 1 << 60
"""Control groups of version 1 write a number of this size for "no limit"."""


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """Cores, memory and disk, with the versions that matter. Sizes in bytes."""

    system: str
    num_cores: int
    """Logical cores of the machine."""
    num_usable_cores: int
    """Those this process may run on."""
    cpu_limit: float | None
    """Cores' worth of time that the container may use; None: no limit."""
    memory_bytes: int
    available_bytes: int
    """What could be taken without swapping, within the container's limit."""
    memory_limit_bytes: int | None
    """The container's limit; None: none below the machine's memory."""
    disk_total_bytes: int
    disk_free_bytes: int
    """On the disk of the home directory."""
    python: str
    sqlite: str


@dataclass(frozen=True, slots=True)
class Limits:
    """What a control group allows; None: no limit."""

    cpus: float | None
    memory_bytes: int | None
    memory_used_bytes: int | None


def probe(place: Path) -> Machine:
    """Look at the machine; `place` (a directory that exists) says which disk is meant."""
    import psutil

    memory = psutil.virtual_memory()
    disk = shutil.disk_usage(place)
    limits = read_limits()
    num_cores = os.cpu_count() or 1
    total_bytes, available_bytes = int(memory.total), int(memory.available)
    limit_bytes = limits.memory_bytes
    if limit_bytes is not None and limit_bytes >= total_bytes:
        limit_bytes = None
    if limit_bytes is not None:
        available_bytes = min(available_bytes, max(0, limit_bytes - (limits.memory_used_bytes or 0)))
    return Machine(
        system=f"{platform.system()} {platform.machine()}",
        num_cores=num_cores,
        num_usable_cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else num_cores,
        cpu_limit=limits.cpus,
        memory_bytes=total_bytes,
        available_bytes=available_bytes,
        memory_limit_bytes=limit_bytes,
        disk_total_bytes=disk.total,
        disk_free_bytes=disk.free,
        python=platform.python_version(),
        sqlite=driver.sqlite_version,
    )


def read_limits(*, root: Path = CGROUP_ROOT, own: Path = OWN_CGROUP) -> Limits:
    """The tightest limits of this process's control group and of all those it is in."""
    cpus: list[float] = []
    memory: list[tuple[int, int | None]] = []
    for group in _groups(root, own, controller=""):  # version 2
        quota = _words(group / "cpu.max")
        if len(quota) == 2 and quota[0] != "max":
            cpus.append(int(quota[0]) / int(quota[1]))
        limit = _number(group / "memory.max")
        if limit is not None:
            memory.append((limit, _number(group / "memory.current")))
    for group in _groups(root, own, controller="cpu"):
        quota_us, period_us = _number(group / "cpu.cfs_quota_us"), _number(group / "cpu.cfs_period_us")
        if quota_us is not None and period_us and quota_us > 0:
            cpus.append(quota_us / period_us)
    for group in _groups(root, own, controller="memory"):
        limit = _number(group / "memory.limit_in_bytes")
        if limit is not None and limit < NO_LIMIT_BYTES:
            memory.append((limit, _number(group / "memory.usage_in_bytes")))
    tightest = min(memory, key=lambda found: found[0] - (found[1] or 0), default=None)
    return Limits(
        cpus=min(cpus, default=None),
        memory_bytes=tightest[0] if tightest else None,
        memory_used_bytes=tightest[1] if tightest else None,
    )


def _groups(root: Path, own: Path, *, controller: str) -> Iterator[Path]:
    """This process's group under a controller ("" is version 2), and the groups around it."""
    if not own.exists():
        return
    for line in own.read_text(encoding="utf-8").splitlines():
        _, controllers, path = line.split(":", 2)
        if controller not in controllers.split(","):
            continue
        top = root / controller
        group = top / path.lstrip("/")
        while group != top and top in group.parents:
            yield group
            group = group.parent
        yield top


def _number(file: Path) -> int | None:
    words = _words(file)
    return int(words[0]) if len(words) == 1 and words[0].lstrip("-").isdigit() else None


def _words(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="ascii").split()
    except OSError:  # not there, or not ours to read: then it limits nothing that we could know of
        return []
