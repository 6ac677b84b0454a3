"""The commands in the guides to backup and upgrade do what they say, on a home in which something happened."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.examples import FENCE, ROOT
from tests.support.server import running_server

QUESTION = {"message": "What is 3 + 4?", "stream": False}


def shell_blocks(page: str) -> list[str]:
    """The `sh` blocks of a guide, in order."""
    text = (ROOT / "docs" / "guides" / page).read_text(encoding="utf-8")
    return [match["body"] for match in FENCE.finditer(text) if match["info"] == "sh"]


def run(block: str, user: Path) -> None:
    """As a person would, whose `~` is this."""
    environ = {**os.environ, "HOME": str(user)}
    subprocess.run(["bash", "-euc", block], cwd=user, env=environ, check=True)


def doctor(home: Path) -> subprocess.CompletedProcess[str]:
    command = [Path(sys.executable).parent / "homefire", "doctor", "--full", "--home", home]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.fixture
def user(tmp_path: Path) -> Path:
    """A person with one conversation in `~/.homefire`, and no server running."""
    (tmp_path / ".homefire").mkdir(mode=0o700)
    with running_server(tmp_path / ".homefire") as live:
        live.post("/v1/chat", QUESTION)
    return tmp_path


def test_a_backup_brings_everything_back(user: Path) -> None:
    backup, restore = shell_blocks("backup.md")
    run(backup, user)
    (user / ".homefire").rename(user / "lost")
    run(restore, user)
    home = user / ".homefire"
    assert home.stat().st_mode & 0o077 == 0
    done = doctor(home)
    assert done.returncode == 0, done.stdout
    with running_server(home) as live:
        (session,) = live.get("/v1/sessions")["sessions"]
        assert session["title"] == QUESTION["message"]
        live.post("/v1/chat", QUESTION)


def test_what_is_left_out_of_a_backup_is_only_what_is_made_anew(user: Path) -> None:
    run(shell_blocks("backup.md")[0], user)
    command = ["tar", "--list", "--file", user / "homefire-backup.tar"]
    kept = {name.split("/")[1] for name in subprocess.check_output(command, text=True).split() if "/" in name}
    assert {path.name for path in (user / ".homefire").iterdir()} - kept == {"cache", "run"}


def test_going_back_brings_the_database_of_before_the_upgrade(user: Path) -> None:
    home = user / ".homefire"
    before = home / "backups" / "homefire-0001-before_01a1.db"
    older = home / "backups" / "homefire-0001-before_0199.db"
    older.write_bytes(b"older")
    before.write_bytes(b"before the upgrade")
    os.utime(older, (1, 1))
    run(shell_blocks("upgrade.md")[0], user)
    assert (home / "homefire.db").read_bytes() == b"before the upgrade"
    assert (home / "newer" / "homefire.db").stat().st_size > 100
    assert list(home.glob("homefire.db-*")) == []
