"""Every example in the documentation works exactly as written, against a real server."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.examples import Command, find_examples, find_pages, output_matches, split_session
from tests.support.server import LiveServer, running_server

PAGES = [page for page in find_pages() if find_examples(page)]
DEFAULT_URL = "http://127.0.0.1:8765"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LiveServer]:
    """A fresh home for each page, so that pages do not depend on each other."""
    with running_server(tmp_path / "home") as live:
        yield live


def run(text: str, server: LiveServer, folder: Path, *, shell: bool) -> subprocess.CompletedProcess[str]:
    binaries = Path(sys.executable).parent
    environ = {
        **os.environ,
        "PATH": f"{binaries}:{os.environ['PATH']}",
        "HOMEFIRE_HOME": str(server.home),
        "HOMEFIRE_URL": server.url,
        "COLUMNS": "110",
        "NO_COLOR": "1",
    }
    text = text.replace(DEFAULT_URL, server.url).replace(".venv/bin/", "")
    command = ["bash", "-c", text] if shell else [sys.executable, "-c", text]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        env=environ,
        cwd=folder,
        timeout=110,
        stdin=subprocess.DEVNULL,
    )


def check(command: Command, server: LiveServer, folder: Path) -> None:
    done = run(command.line, server, folder, shell=True)
    said = f"$ {command.line}\n{done.stdout}{done.stderr}"
    assert done.returncode == command.exit_code, said
    shown = done.stdout.replace(server.url, DEFAULT_URL)
    if done.returncode:
        shown += done.stderr.replace(server.url, DEFAULT_URL)
    assert output_matches(command.expected, shown), said


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_examples_of_a_page_work_in_order(page: Path, server: LiveServer, tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    for example in find_examples(page):
        if example.language == "console":
            for command in split_session(example.body):
                check(command, server, folder)
        else:
            done = run(example.body, server, folder, shell=False)
            assert done.returncode == 0, f"{example}\n{done.stdout}{done.stderr}"


def test_a_wrong_output_would_be_noticed() -> None:
    assert output_matches(["7"], "7\n")
    assert output_matches(["v001 ... live"], "v001  12:00  live")
    assert not output_matches(["8"], "7\n")
    assert not output_matches(["v001 ... live"], "v001 failed")
