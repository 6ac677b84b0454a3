"""The units that start Homefire at boot are such as their service managers understand."""

from __future__ import annotations

import os
import plistlib
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from homefire.cli.exits import EXIT_CODES
from homefire.config.schema import ServerSettings
from tests.docs.examples import ROOT

UNIT = ROOT / "deploy" / "homefire.service"
AGENT = ROOT / "deploy" / "homefire.plist"


def verify(unit: Path, home: Path) -> str:
    """What systemd has to say about a unit of a user whose home this is; nothing where all is well."""
    environ = {**os.environ, "HOME": str(home), "XDG_RUNTIME_DIR": str(home)}
    command = ["systemd-analyze", "verify", "--user", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True, env=environ)
    return done.stdout + done.stderr + (f"exit code {done.returncode}" if done.returncode else "")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home in which `make install` was run."""
    command = tmp_path / ".local" / "bin" / "homefire"
    command.parent.mkdir(parents=True)
    command.write_text("#!/bin/sh\n")
    command.chmod(0o755)
    return tmp_path


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd here")
class TestSystemd:
    def test_the_unit_is_understood(self, home: Path) -> None:
        assert verify(UNIT, home) == ""

    def test_an_error_in_it_would_be_noticed(self, home: Path) -> None:
        wrong = home / "homefire.service"
        wrong.write_text(UNIT.read_text().replace("KillMode=mixed", "KillMode=mxied"))
        assert "mxied" in verify(wrong, home)

    def test_it_starts_the_linked_command(self, home: Path) -> None:
        (home / ".local" / "bin" / "homefire").unlink()
        assert ".local/bin/homefire" in verify(UNIT, home)


def test_the_unit_waits_longer_than_the_server_drains_and_knows_its_exit_codes() -> None:
    settings = dict(re.findall(r"^(\w+)=(.*)$", UNIT.read_text(), re.MULTILINE))
    assert float(settings["TimeoutStopSec"]) > 2 * ServerSettings().drain_timeout_s
    meanings = [EXIT_CODES[int(code)] for code in settings["RestartPreventExitStatus"].split()]
    assert [meaning.split()[0] for meaning in meanings] == ["wrong", "a", "another"]


def test_the_agent_is_a_property_list_that_starts_the_linked_command() -> None:
    agent = plistlib.loads(AGENT.read_bytes())
    assert agent["ProgramArguments"] == ["/bin/sh", "-c", 'exec "$HOME/.local/bin/homefire" up']
    assert agent["Label"] == AGENT.stem
    assert agent["Umask"] == 0o077
