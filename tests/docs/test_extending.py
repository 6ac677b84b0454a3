"""The plug-in in the guide works as it stands there: installed as a package, found, and run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.docs.examples import FENCE, ROOT
from tests.support.server import running_server

PAGE = ROOT / "docs" / "guides" / "extending.md"


def block(language: str) -> str:
    """The one block of this language that is not only shown."""
    (found,) = [
        match["body"] for match in FENCE.finditer(PAGE.read_text("utf-8")) if match["info"] == language
    ]
    return str(found)


def test_the_command_of_the_guide_installs_and_runs(tmp_path: Path) -> None:
    package, site = tmp_path / "homefire-hello", tmp_path / "site"
    package.mkdir()
    (package / "homefire_hello.py").write_text(block("python"), encoding="utf-8")
    (package / "pyproject.toml").write_text(block("toml"), encoding="utf-8")
    install = ("install", "-q", "--no-deps", "--no-build-isolation", "--no-index", "--target", str(site))
    subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", *install, str(package)], check=True
    )
    with running_server(tmp_path / "home") as live:
        done = subprocess.run(
            [Path(sys.executable).parent / "homefire", "--url", live.url, "hello", "--name", "Ann"],
            env={**os.environ, "PYTHONPATH": str(site), "HOMEFIRE_HOME": str(live.home)},
            capture_output=True,
            text=True,
        )
    assert (done.stdout, done.stderr) == ("Hello, Ann! ember is live.\n", "")
