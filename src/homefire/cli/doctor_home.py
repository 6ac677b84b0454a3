"""The doctor's checks of one home: settings, disk, rights, port, key, lock, store, processes."""

from __future__ import annotations

import shutil
import socket
import stat
from collections.abc import Callable
from functools import partial

from homefire.cli.address import read_server_file
from homefire.cli.doctor_checks import Check, CheckFunction
from homefire.cli.words import size
from homefire.errors import HomefireError
from homefire.home import Home
from homefire.machine.ports import describe_listener
from homefire.store.lock import lock_holder

WARN_FREE_BYTES = 2_000_000_000
FAIL_FREE_BYTES = 100_000_000
_WORKER_MODULES = ("homefire.engines.worker", "homefire.training.worker")


def home_checks(home: Home, *, full: bool) -> tuple[CheckFunction, ...]:
    """All checks of `home`. A home that was never started is fine: it is made at the first start."""
    return tuple(
        _guarded(name, partial(check, home))
        for name, check in (
            ("settings", check_settings),
            ("home", check_home),
            ("disk", check_disk),
            ("server", check_server),
            ("port", check_port),
            ("key", check_key),
            ("store", partial(check_store, full=full)),
            ("workers", check_workers),
            ("scrub", check_scrub),
        )
    )


def check_settings(home: Home) -> Check:
    """homefire.toml and the environment are understood."""
    from homefire.config.loader import load_settings

    loaded = load_settings(home)
    changed = sum(where != "default" for where in loaded.origins.values())
    there = home.settings_file if home.settings_file.exists() else "no file"
    return Check("settings", "pass", f"{changed} changed from their defaults ({there})")


def check_scrub(home: Home) -> Check:
    """What the slow reading of all files found last."""
    from homefire.catalog.scrub import SCRUB_FILE, read_report

    report = read_report(home.cache / SCRUB_FILE)
    if report is None:
        return Check("scrub", "pass", "the files were not all read again yet; the server does that by itself")
    if report.damaged:
        return Check(
            "scrub",
            "fail",
            f"damaged on the disk: {', '.join(report.damaged[:5])}",
            "Bits flipped, or somebody else wrote there. What is damaged is not used.",
            "Run `homefire versions verify`; for a base model: remove it and add it again. Check the disk.",
        )
    return Check("scrub", "pass", f"{report.num_files} files were read again and are what was written")


def check_home(home: Home) -> Check:
    """The home is a directory that this user can write and others cannot read."""
    if not home.root.exists():
        return Check("home", "pass", f"{home.root} does not exist yet; `homefire up` makes it")
    if not home.root.is_dir():
        return Check(
            "home", "fail", f"{home.root} is not a directory", "Nothing can be stored.", "Move it away."
        )
    probe = home.root / ".doctor"
    try:
        probe.write_bytes(b"x")
        probe.unlink()
    except OSError as error:
        return Check(
            "home",
            "fail",
            f"{home.root} cannot be written: {error.strerror}",
            "Nothing can be stored.",
            "Make it writable for this user, or choose another with HOMEFIRE_HOME.",
        )
    if stat.S_IMODE(home.root.stat().st_mode) & 0o077:
        return Check(
            "home",
            "warn",
            f"{home.root} can be read by others",
            "Conversations and keys lie in it.",
            f"chmod 700 {home.root}",
        )
    return Check("home", "pass", f"{home.root}")


def check_disk(home: Home) -> Check:
    """There is room to store versions."""
    place = next(path for path in (home.root, *home.root.parents) if path.exists())
    free_bytes = shutil.disk_usage(place).free
    if free_bytes >= WARN_FREE_BYTES:
        return Check("disk", "pass", f"{size(free_bytes)} free")
    return Check(
        "disk",
        "fail" if free_bytes < FAIL_FREE_BYTES else "warn",
        f"only {size(free_bytes)} free",
        "A full disk pauses training and the recording of conversations.",
        "Make room; `homefire versions delete` removes versions.",
    )


def check_server(home: Home) -> Check:
    """Whether a server owns this home, and whether what it left behind is stale."""
    pid = lock_holder(home)
    url = read_server_file(home.root)
    if pid is None and url is not None:
        return Check(
            "server",
            "warn",
            f"not running, though {home.sockets / 'server.json'} says {url}",
            "The last server was killed; the next start recovers and replaces the file.",
            "Start it with `homefire up`.",
        )
    if pid is None:
        return Check("server", "pass", "not running")
    return Check("server", "pass", f"running as process {pid} at {url or 'an unknown address'}")


def check_port(home: Home) -> Check:
    """The port is free, or held by the server of this home."""
    from homefire.config.loader import load_settings

    server = load_settings(home).settings.server
    if lock_holder(home) is not None:
        return Check(
            "port", "pass", f"{read_server_file(home.root) or server.port} is held by this home's server"
        )
    family = socket.AF_INET6 if ":" in server.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((server.host, server.port))
        except OSError as error:
            holder = describe_listener(server.port)
            by = f" (by {holder})" if holder else ""
            return Check(
                "port",
                "fail",
                f"{server.host}:{server.port} cannot be listened on: {error.strerror}{by}",
                "`homefire up` would not start.",
                "End that program, or choose another port with `homefire up --port`.",
            )
    return Check("port", "pass", f"{server.port} is free on {server.host}")


def check_key(home: Home) -> Check:
    """The API key is there and readable by its owner only."""
    file = home.credentials / "api_key"
    if not file.exists():
        return Check("key", "pass", "none yet; `homefire up` makes one")
    mode = stat.S_IMODE(file.stat().st_mode)
    if mode & 0o077:
        return Check(
            "key",
            "fail",
            f"{file} has mode {mode:04o}: others can read it",
            "Whoever reads the key can use this server.",
            f"chmod 600 {file}",
        )
    return Check("key", "pass", f"{file}, mode {mode:04o}")


def check_store(home: Home, *, full: bool) -> Check:
    """The database, the log's hash chain, its tables and (with `full`) every blob agree."""
    if not home.database.exists():
        return Check("store", "pass", "empty: this home was never started")
    pid = lock_holder(home)
    if pid is not None:
        return Check("store", "pass", f"in use by process {pid}, which checked it when it started")
    from homefire.config.loader import load_settings
    from homefire.store.store import open_store
    from homefire.world import World

    store = open_store(home, load_settings(home).settings.store, World())
    try:
        report = store.check(full=full)
    finally:
        store.close()
    if report.is_sound:
        return Check(
            "store",
            "pass",
            "whole: database, hash chain and tables agree" + (", every blob hashed" if full else ""),
        )
    return Check(
        "store",
        "fail",
        "; ".join(str(problem) for problem in report.problems),
        "What is stored is not what was written.",
        "Do not delete anything. `homefire doctor --rebuild` makes the tables anew from the log; "
        "what it cannot heal comes from a backup.",
    )


def check_workers(home: Home) -> Check:
    """No worker has outlived its server."""
    import psutil

    orphans = []
    for process in psutil.process_iter(["pid", "ppid", "cmdline"]):
        line = process.info["cmdline"] or []
        if any(module in line for module in _WORKER_MODULES) and process.info["ppid"] in (0, 1):
            orphans.append(process.info["pid"])
    if not orphans:
        return Check("workers", "pass", "no worker without a server")
    return Check(
        "workers",
        "warn",
        f"processes {', '.join(map(str, orphans))} work for no server",
        "They hold memory that nobody uses.",
        f"kill {' '.join(map(str, orphans))}",
    )


def _guarded(name: str, check: Callable[[], Check]) -> CheckFunction:
    """The check, with a typed error that it meets as its finding."""

    def run() -> Check:
        try:
            return check()
        except HomefireError as error:
            return Check(name, "fail", error.message, error.code, error.hint or "See `homefire --help`.")

    return run
