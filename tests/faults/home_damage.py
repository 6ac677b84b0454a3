"""One file of a killed home damaged, and whether that is repaired, refused, or named by the doctor.

The three oracles, in this order: `homefire doctor --full` names what is wrong; the start refuses with a typed error; or
all that was acknowledged is there, every version and base is whole, and `live` can be loaded. Anything else is a
fault, and so is any exception that is not one of Homefire's.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import traceback
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from homefire.app import Homefire
from homefire.cli import doctor
from homefire.cli.doctor_checks import Check
from homefire.cli.doctor_home import home_checks
from homefire.errors import HomefireError, NotFound
from homefire.home import Home
from tests.faults.lives import Acknowledged, open_home

NOT_OF_THE_HOME = ("port", "workers", "server", "disk")
"""Checks of the machine around it."""


def flip(path: Path, dice: random.Random) -> None:
    """One bit, anywhere."""
    data = bytearray(path.read_bytes())
    if data:
        data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
    path.chmod(0o600)
    path.write_bytes(data)


def cut(path: Path, dice: random.Random) -> None:
    """Its end is gone."""
    data = path.read_bytes()
    path.chmod(0o600)
    path.write_bytes(data[: dice.randrange(max(len(data), 1))])


def empty(path: Path, _: random.Random) -> None:
    path.chmod(0o600)
    path.write_bytes(b"")


def delete(path: Path, _: random.Random) -> None:
    path.unlink()


def to_folder(path: Path, _: random.Random) -> None:
    path.unlink()
    path.mkdir()
    (path / "notes.txt").write_text("mine")


def to_link(path: Path, _: random.Random) -> None:
    """A link that leads to itself: nobody can follow it, not even an administrator."""
    path.unlink()
    path.symlink_to(path.name)


HARMS: dict[str, Callable[[Path, random.Random], None]] = {
    harm.__name__: harm for harm in (flip, cut, empty, delete, to_folder, to_link)
}


def files_of(root: Path) -> list[str]:
    """The files of a home by relative path, sorted; what a running server keeps for itself is left out."""
    found = (path for path in sorted(root.rglob("*")) if path.is_file() and not path.is_symlink())
    names = (path.relative_to(root).as_posix() for path in found)
    return [name for name in names if not name.startswith("run/")]


def fault_of(root: Path, said: Acknowledged, *, name: str, harm: str, seed: int) -> str | None:
    """What is wrong with how a damaged copy of a home is met; None when all is as promised."""
    scene = root.with_name(f"{root.name}-damaged")
    shutil.copytree(root, scene, symlinks=True)
    try:
        HARMS[harm](scene / name, random.Random(seed))
        is_named = _named_by_doctor(Home(scene))
        refusal, lost = asyncio.run(_start(scene, said))
        return None if is_named or refusal else lost
    except Exception:  # noqa: BLE001 - a traceback is never an answer
        return traceback.format_exc(limit=-3)
    finally:
        shutil.rmtree(scene)


def _named_by_doctor(home: Home) -> bool:
    found = doctor_findings(home)
    return any(check.status != "pass" for check in found.values())


def doctor_findings(home: Home) -> dict[str, Check]:
    """What `doctor --full` finds in the home itself."""
    checks = home_checks(home, full=True)
    return {name: doctor._run(check) for name, check in checks.items() if name not in NOT_OF_THE_HOME}


async def _start(root: Path, said: Acknowledged) -> tuple[str, str | None]:
    """`(why it was refused, what is lost)`."""
    try:
        homefire = open_home(root)
    except HomefireError as refused:
        return refused.message, None
    try:
        async with homefire.running():
            return "", "; ".join([problem async for problem in _lost(homefire, said)]) or None
    except HomefireError as refused:
        return refused.message, None


async def _lost(homefire: Homefire, said: Acknowledged) -> AsyncIterator[str]:
    store = homefire.store
    if said.session_id:
        session = store.sessions.get(said.session_id)
        tip = session.tip_message_id if session is not None else None
        told = " ".join(str(message) for message in (store.messages.path(tip) if tip else ()))
        if said.answer not in told:
            yield "the answer is gone"
    if said.example_id and store.examples.get(said.example_id) is None:
        yield "the correction is gone"
    live = homefire.catalog.resolve("live").model
    if live.name != said.live:
        yield f"live is {live.name}"
    for name in {"ember", live.name}:
        try:
            await homefire.catalog.spec(homefire.catalog.resolve(name).model)
        except (HomefireError, NotFound) as error:
            yield f"{name} cannot be used: {error.message}"
    for row in homefire.library.all():
        report = await homefire.library.verify(row.version)
        if not report.ok:
            yield f"{row.version}: {report.problems[0]}"
