"""The program for machines with a GPU runs from the first line to the last, on the CPU and at a tiny size."""

from __future__ import annotations

from pathlib import Path

import pytest
from bench.gpu.training import measure


@pytest.mark.timeout(300)
def test_it_measures_and_a_paused_run_ends_alike(tmp_path: Path) -> None:
    figures = measure("tiny", device="cpu", steps=2, root=tmp_path)
    assert figures["a run that was paused ends with the same weights"] == 1.0
    assert all(value > 0 for value in figures.values()), figures
