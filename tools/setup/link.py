"""`make install` and `make uninstall`: the command as `homefire`, by a link in `~/.local/bin`.

Touches only a link that leads to a Homefire checkout (its own, or one that was moved or deleted since); any other
file of that name is left alone and named.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from tools.setup.builds import SetupError

COMMAND = Path(".venv") / "bin" / "homefire"


def link_command(checkout: Path, folder: Path) -> list[str]:
    """Link the checkout's command into the folder; returns what to tell."""
    target = checkout / COMMAND
    if not target.exists():
        raise SetupError(f"{target} is not there. `make install` sets it up first.")
    place = folder / COMMAND.name
    if os.path.lexists(place) and not _is_ours(place):
        raise SetupError(
            f"{place} is there already and is not a link that Homefire made, so it is left alone.\n"
            f"Move it away, or go on with {target}."
        )
    folder.mkdir(parents=True, exist_ok=True)
    fresh = folder / f".{COMMAND.name}.{os.getpid()}"
    fresh.symlink_to(target)
    fresh.replace(place)
    told = [f"{place} now runs {target}"]
    found = shutil.which(COMMAND.name)
    if str(folder) not in os.environ.get("PATH", "").split(os.pathsep):
        told.append(f"{folder} is not on your PATH. Add this to your shell's profile and open a new shell:")
        told.append(f'  export PATH="{folder}:$PATH"')
    elif found is not None and Path(found) != place:
        told.append(f"Another program answers to `{COMMAND.name}` first on your PATH: {found}")
    return told


def unlink_command(folder: Path) -> list[str]:
    """Remove the link; returns what to tell. The checkout and the home directory stay."""
    place = folder / COMMAND.name
    if not os.path.lexists(place):
        return [f"There is no {place}: nothing to remove."]
    if not _is_ours(place):
        raise SetupError(f"{place} is not a link that Homefire made, so it is left alone.")
    place.unlink()
    return [f"{place} is removed. The checkout and the home directory are as they were."]


def _is_ours(place: Path) -> bool:
    return place.is_symlink() and place.readlink().parts[-3:] == COMMAND.parts
