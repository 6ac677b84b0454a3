"""pip's output is counted, shown as one line, and kept whole in a log."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from tools.setup.progress import Count, Ended, Line, run_counted

TRANSCRIPT = """\
Looking in links: /opt/wheels
Ignoring pysqlite3: markers 'sys_platform != "linux"' don't match your environment
Collecting a==1 (from -r lock.txt (line 1))
  Downloading a-1-py3-none-any.whl (13 kB)
Requirement already satisfied: b==2 in ./site-packages (from -r lock.txt (line 3)) (2)
Collecting c==3 (from -r lock.txt (line 5))
  Downloading c-3-py3-none-any.whl (526.6 MB)
Installing collected packages: a, c
Successfully installed a-1 c-3
"""


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def counted(num_lines: int) -> Count:
    count = Count(4)
    for line in TRANSCRIPT.splitlines(keepends=True)[:num_lines]:
        count.read(line)
    return count


@pytest.mark.parametrize(
    ("num_lines", "words"),
    [
        (1, "0 of 4 packages fetched"),
        (3, "0 of 3 packages fetched"),
        (5, "1 of 3 packages fetched"),
        (7, "2 of 3 packages fetched, c: 100 of 527 MB"),
        (8, "0 of 3 packages installed"),
    ],
)
def test_the_count_follows_what_pip_says(num_lines: int, words: str) -> None:
    assert counted(num_lines).describe(downloaded_bytes=100_000_000) == words


def test_the_count_never_exceeds_its_total() -> None:
    count = Count(1)
    for _ in range(3):
        count.read("Collecting a==1\n")
    count.read("Installing collected packages: a\n")
    count.installed = 5
    assert count.describe() == "1 of 1 packages installed"


def test_a_terminal_gets_one_line_that_changes() -> None:
    out = Terminal()
    line = Line(out, "[3/4]")
    for words in ("1 of 83", "1 of 83", "31 of 83"):
        line.show(words, 0)
    line.end("83 of 83")
    assert out.getvalue().count("\n") == 1
    assert out.getvalue().count("1 of 83\x1b[K") == 2  # "1 of 83" once, and the end of "31 of 83"
    assert out.getvalue().endswith("\r[3/4] 83 of 83\x1b[K\n")


def test_without_a_terminal_there_are_a_few_plain_lines() -> None:
    out = io.StringIO()
    line, count = Line(out, "[3/4]"), Count(83)
    for number in range(83):
        count.read(f"Collecting package-{number}==1\n")
        line.show(count.describe(), count.quarter())
    count.read("Installing collected packages: many\n")
    for count.installed in range(84):
        line.show(count.describe(), count.quarter())
    line.end("83 of 83 packages installed")
    lines = out.getvalue().splitlines()
    assert 5 <= len(lines) <= 10
    assert lines[-1] == "[3/4] 83 of 83 packages installed"
    assert "\x1b" not in out.getvalue()
    assert "\r" not in out.getvalue()


def test_a_failure_leaves_the_line_and_says_nothing_of_success() -> None:
    out = Terminal()
    line = Line(out, "[3/4]")
    line.show("31 of 83", 1)
    line.end("")
    assert out.getvalue().endswith("\x1b[K\n")


def run(script: str, tmp_path: Path, out: io.StringIO) -> Ended:
    site = tmp_path / "site"
    site.mkdir()
    (site / "old-1.dist-info").mkdir()
    command = [sys.executable, "-c", script, str(site)]
    return run_counted(command, total=2, line=Line(out, "[3/4]"), log=tmp_path / "install.log", site=site)


def test_all_that_pip_says_is_in_the_log_and_not_on_the_screen(tmp_path: Path) -> None:
    out = io.StringIO()
    ended = run("print('Collecting a==1'); print('chatter ' * 50)", tmp_path, out)
    assert ended.code == 0
    assert "chatter" in (tmp_path / "install.log").read_text()
    assert "chatter" not in out.getvalue()


def test_a_failure_keeps_the_end_of_what_was_said(tmp_path: Path) -> None:
    ended = run(
        "import sys; [print('line', n) for n in range(100)]; sys.exit('no space left')",
        tmp_path,
        io.StringIO(),
    )
    assert ended.code == 1
    assert ended.tail.endswith("no space left\n")
    assert "line 99" in ended.tail
    assert "line 50\n" not in ended.tail


def test_half_downloads_are_removed_also_those_of_a_run_that_was_killed(tmp_path: Path) -> None:
    (tmp_path / "downloading").mkdir()
    (tmp_path / "downloading" / "half").write_text("from before")
    script = "import os; print(os.listdir(os.environ['TMPDIR'])); open(os.environ['TMPDIR'] + '/half', 'w')"
    assert run(script, tmp_path, io.StringIO()).lines == ["[]\n"]
    assert not (tmp_path / "downloading").exists()


def test_a_wrong_hash_is_not_taken_for_a_missing_wheel() -> None:
    assert Ended(1, ["ERROR: No matching distribution found for torch==2.13.0+cpu\n"]).not_found
    assert not Ended(
        1, ["ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.\n"]
    ).not_found
    assert not Ended(1, ["No matching distribution found", "DO NOT MATCH THE HASHES"]).not_found
