"""What servers that are gone left behind is removed, and nothing else."""

from __future__ import annotations

import os
from pathlib import Path

from homefire.engines.spawn import remove_stale, worker_environment

NO_PROCESS = 2**22 + 1
"""Above the largest process id that Linux gives out."""


def test_only_the_directories_of_servers_that_are_gone_are_removed(tmp_path: Path) -> None:
    kept = [f"engine-{os.getpid()}-aa", f"engine-{os.getppid()}-bb", "engine-mine-cc", "notes"]
    for name in (*kept, f"engine-{NO_PROCESS}-dd"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "socket").touch()
    remove_stale(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(kept)
    remove_stale(tmp_path / "nothing here")


def test_a_worker_gets_its_threads_and_neither_secrets_nor_a_way_of_waiting() -> None:
    given = {"PATH": "/bin", "HF_TOKEN": "x", "OMP_WAIT_POLICY": "active", "OMP_NUM_THREADS": "64"}
    assert worker_environment(given, num_threads=3) == {"PATH": "/bin", "OMP_NUM_THREADS": "3"}
