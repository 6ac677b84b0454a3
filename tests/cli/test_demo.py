"""The demo is the end-to-end test: a real server, the real ember, real training, kill -9, rollback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from homefire.bundled import ember_path
from homefire.cli.demo_checks import flip_byte, is_promoted, is_same, read_probes
from homefire.cli.demo_report import Report
from homefire.cli.output import Output

KEPT = {
    "starts",
    "does not know",
    "learned",
    "no failed request",
    "answers right",
    "old skills kept",
    "resumes after kill -9",
    "learned more",
    "learned all",
    "rolls back",
    "promotes again",
    "v001 is whole",
    "v002 is whole",
    "stops cleanly",
    "notices a flipped byte",
    "live is never absent",
}


@pytest.mark.timeout(300)
def test_the_whole_circle_keeps_every_promise(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "homefire", "demo", "--json"],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    report = json.loads(done.stdout)
    promises = report.get("promises") or report["error"]["details"]["promises"]
    assert [promise for promise in promises if not promise["ok"]] == []
    assert {promise["name"] for promise in promises} == KEPT
    assert done.returncode == 0
    assert done.stderr == ""
    assert [version["version"] for version in report["versions"]] == ["v001", "v002"]
    assert list(tmp_path.glob("homefire-demo-*")) == []


def test_a_flipped_byte_is_one_bit_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(bytes(range(100)))
    flip_byte(path)
    changed = path.read_bytes()
    assert len(changed) == 100
    assert [place for place in range(100) if changed[place] != place] == [50]
    assert changed[50] == 51


def test_promises_that_do_not_hold_are_reported_as_broken(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report(Output(json=False))
    report.step("One")
    report.promise("holds", True, "it does")
    report.promise("fails", False, "it does not")
    assert [promise.name for promise in report.broken] == ["fails"]
    assert not report.document()["ok"]
    assert "BROKEN fails: it does not" in capsys.readouterr().out


def test_answers_are_compared_as_people_would() -> None:
    assert is_same(" Under the POT. ", "under the pot.")
    assert not is_same("under the pot", "under the pan")
    assert is_promoted({"state": "done", "promoted": True})
    assert not is_promoted({"state": "done", "promoted": False})
    assert not is_promoted({"state": "failed"})


def test_old_skills_are_sampled_over_the_whole_list() -> None:
    probes = read_probes(ember_path() / "probes.jsonl", limit=10)
    assert 5 <= len(probes) <= 10
    assert all(messages[-1]["role"] == "user" and answer for messages, answer in probes)
