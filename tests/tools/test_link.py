"""`make install` links the command, and touches nothing that is not its own."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from tools.setup.builds import SetupError
from tools.setup.link import link_command, unlink_command


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    command = tmp_path / "checkout" / ".venv" / "bin" / "homefire"
    command.parent.mkdir(parents=True)
    command.write_text("#!/bin/sh\necho it runs\n")
    command.chmod(0o755)
    return tmp_path / "checkout"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is on the PATH and not there yet."""
    place = tmp_path / "local" / "bin"
    monkeypatch.setenv("PATH", f"{place}:/usr/bin:/bin")
    return place


def test_the_command_runs_through_the_link(checkout: Path, folder: Path) -> None:
    told = link_command(checkout, folder)
    assert subprocess.check_output(["homefire"], text=True) == "it runs\n"
    assert len(told) == 1


def test_a_folder_that_is_not_on_the_path_is_said(
    checkout: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    told = "\n".join(link_command(checkout, folder))
    assert f"{folder} is not on your PATH" in told
    assert f'export PATH="{folder}:$PATH"' in told


def test_another_program_of_that_name_that_comes_first_is_said(
    checkout: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other" / "homefire"
    other.parent.mkdir()
    other.write_text("#!/bin/sh\n")
    other.chmod(0o755)
    monkeypatch.setenv("PATH", f"{other.parent}:{folder}")
    assert str(other) in link_command(checkout, folder)[-1]


def test_a_link_to_a_checkout_that_moved_is_replaced(checkout: Path, folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "homefire").symlink_to("/gone/.venv/bin/homefire")
    link_command(checkout, folder)
    assert (folder / "homefire").readlink() == checkout / ".venv" / "bin" / "homefire"
    assert [path.name for path in folder.iterdir()] == ["homefire"]


@pytest.mark.parametrize("kind", ["file", "link", "folder"])
def test_what_is_not_ours_is_left_alone(checkout: Path, folder: Path, kind: str) -> None:
    folder.mkdir(parents=True)
    place = folder / "homefire"
    if kind == "file":
        place.write_text("mine")
    elif kind == "folder":
        place.mkdir()
    else:
        place.symlink_to("/opt/other/homefire")
    before = place.lstat()
    with pytest.raises(SetupError, match="left alone"):
        link_command(checkout, folder)
    with pytest.raises(SetupError, match="left alone"):
        unlink_command(folder)
    assert place.lstat() == before


def test_the_link_can_be_removed_and_removing_twice_is_harmless(checkout: Path, folder: Path) -> None:
    link_command(checkout, folder)
    assert "removed" in unlink_command(folder)[0]
    assert "nothing to remove" in unlink_command(folder)[0]
    assert (checkout / ".venv" / "bin" / "homefire").exists()


def test_without_an_environment_there_is_nothing_to_link(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(SetupError, match="make install"):
        link_command(tmp_path, folder)
    assert not folder.exists()
