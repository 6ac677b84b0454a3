"""The doctor's checks of one home: settings, disk, rights, port, key, lock, store, processes; and its repair."""

from __future__ import annotations

import shutil
import socket
import stat
from functools import partial

from homefire.cli.address import read_server_file, running_server
from homefire.cli.doctor_checks import Check, CheckFunction, fail, passed, warn
from homefire.cli.doctor_files import file_checks, opened
from homefire.cli.format import size
from homefire.errors import NotFound, PromiseBroken
from homefire.home import Home
from homefire.machine.ports import describe_listener
from homefire.store.check import CheckReport
from homefire.store.lock import lock_holder

WARN_FREE_BYTES = 2_000_000_000
FAIL_FREE_BYTES = 100_000_000
_WORKER_MODULES = ("homefire.engines.worker", "homefire.trainer.worker")


def home_checks(home: Home, *, full: bool) -> dict[str, CheckFunction]:
    """Name → check of `home`. A home that was never started is fine: it is made at the first start."""
    return {
        "settings": partial(check_settings, home),
        "home": partial(check_home, home),
        "disk": partial(check_disk, home),
        "server": partial(check_server, home),
        "port": partial(check_port, home),
        "key": partial(check_key, home),
        "store": partial(check_store, home, full=full),
        **file_checks(home, full=full),
        "workers": check_workers,
        "scrub": partial(check_scrub, home),
    }


def check_settings(home: Home) -> Check:
    """homefire.toml and the environment are understood."""
    from homefire.config.loader import load_settings

    loaded = load_settings(home)
    changed = sum(where != "default" for where in loaded.origins.values())
    there = home.settings_file if home.settings_file.exists() else "no file"
    return passed(f"{changed} changed from their defaults ({there})")


def check_scrub(home: Home) -> Check:
    """What the slow reading of all files found last."""
    from homefire.catalog.scrub import SCRUB_FILE, read_report

    report = read_report(home.cache / SCRUB_FILE)
    if report is None:
        return passed("the files were not all read again yet; the server does that by itself")
    if report.damaged:
        return fail(
            f"damaged on the disk: {', '.join(report.damaged[:5])}",
            why="Bits flipped, or another program wrote there. Damaged files are not used.",
            todo="Run `homefire versions verify`; add a base model again from a good copy. Check the disk.",
        )
    return passed(f"{report.num_files} files were read again and are what was written")


def check_home(home: Home) -> Check:
    """The home is a directory that this user can write and others cannot read."""
    root = home.root
    if not root.exists():
        return passed(f"{root} does not exist yet; `homefire up` makes it")
    if not root.is_dir():
        return fail(f"{root} is not a directory", why="Nothing can be stored.", todo="Move it away.")
    probe = root / ".doctor"
    try:
        probe.write_bytes(b"x")
        probe.unlink()
    except OSError as error:
        return fail(
            f"{root} cannot be written: {error.strerror}",
            why="Nothing can be stored.",
            todo="Make it writable for this user, or choose another with HOMEFIRE_HOME.",
        )
    if stat.S_IMODE(root.stat().st_mode) & 0o077:
        return warn(
            f"{root} can be read by others",
            why="Conversations and keys lie in it.",
            todo=f"chmod 700 {root}",
        )
    return passed(f"{root}")


def check_disk(home: Home) -> Check:
    """There is room to store versions."""
    place = next(path for path in (home.root, *home.root.parents) if path.exists())
    free_bytes = shutil.disk_usage(place).free
    if free_bytes >= WARN_FREE_BYTES:
        return passed(f"{size(free_bytes)} free")
    return (fail if free_bytes < FAIL_FREE_BYTES else warn)(
        f"only {size(free_bytes)} free",
        why="A full disk pauses training and the recording of conversations.",
        todo="Make room; `homefire versions delete` removes versions.",
    )


def check_server(home: Home) -> Check:
    """Whether a server owns this home, and whether what it left behind is stale."""
    pid, running = lock_holder(home), running_server(home.root)
    failed = _failed_parts(running.url) if running is not None else []
    if failed:
        return fail(
            f"running as process {pid}, but this does not work: {', '.join(failed)}",
            why="`homefire status` and the log say why. It is begun again by itself where that can help.",
            todo="Look at the reason, then restart Homefire.",
        )
    if pid is not None:
        return passed(f"running as process {pid} at {running.url if running else 'an unknown address'}")
    written = read_server_file(home.root)
    if written is None:
        return passed("not running")
    return warn(
        f"not running, though {home.sockets / 'server.json'} says {written.url}",
        why="The last server was killed; the next start recovers and replaces the file.",
        todo="Start it with `homefire up`.",
    )


def _failed_parts(url: str) -> list[str]:
    """The parts that a running server names in its health; ConnectionError and the like are for `check_port`."""
    import httpx

    try:
        return list(httpx.get(f"{url}/health", timeout=10, trust_env=False).json().get("failed", ()))
    except (httpx.HTTPError, ValueError) as error:
        return [f"it does not answer ({type(error).__name__})"]


def check_port(home: Home) -> Check:
    """The port is free, or held by the server of this home."""
    from homefire.config.loader import load_settings

    server = load_settings(home).settings.server
    if lock_holder(home) is not None:
        running = running_server(home.root)
        return passed(f"{running.url if running else server.port} is held by this home's server")
    family = socket.AF_INET6 if ":" in server.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((server.host, server.port))
        except OSError as error:
            holder = describe_listener(server.port)
            by = f" (by {holder})" if holder else ""
            return fail(
                f"{server.host}:{server.port} cannot be listened on: {error.strerror}{by}",
                why="`homefire up` would not start.",
                todo="End that program, or choose another port with `homefire up --port`.",
            )
    return passed(f"{server.port} is free on {server.host}")


def check_key(home: Home) -> Check:
    """The API key is there and readable by its owner only."""
    from homefire.config.secrets import API_KEY_FILE, load_api_key
    from homefire.errors import ConfigError

    file = home.credentials / API_KEY_FILE
    try:
        key = load_api_key(home)
    except ConfigError as error:
        return fail(
            error.message,
            why="`homefire up` would not start, or whoever reads the key could use this server.",
            todo=error.hint or f"Remove {file}: the next start makes another one.",
        )
    if key is None:
        return passed("none yet; `homefire up` makes one")
    return passed(f"{key.origin}, {'only its owner can read it' if file.exists() else 'not in this home'}")


def check_store(home: Home, *, full: bool) -> Check:
    """The database, the log's hash chain, its tables and (with `full`) every blob agree."""
    with opened(home) as store:
        if isinstance(store, str):
            return passed(store)
        report = store.check(full=full)
    if report.is_sound and report.losses:
        return warn(
            " ".join(report.losses),
            why="What is left is whole; those events are not in it, and nothing can make them again.",
            todo="Look at the disk (dmesg, SMART). The damaged write-ahead log is kept in the home's backups folder.",
        )
    if report.is_sound:
        hashed = ", every blob hashed" if full else ""
        where = f" ({store.database.name}: {store.database.where})" if store.database.is_remote else ""
        return passed(f"whole: database, hash chain and tables agree{hashed}{where}")
    return fail(
        "; ".join(str(problem) for problem in report.problems),
        why="What is stored is not what was written.",
        todo="Do not delete anything. `homefire doctor --rebuild` rebuilds the tables from the log; "
        "what it cannot repair comes from a backup.",
    )


def check_workers() -> Check:
    """No worker has outlived its server."""
    import psutil

    orphans = []
    for process in psutil.process_iter(["pid", "ppid", "cmdline"]):
        line = process.info["cmdline"] or []
        if any(module in line for module in _WORKER_MODULES) and process.info["ppid"] in (0, 1):
            orphans.append(str(process.info["pid"]))
    if not orphans:
        return passed("no worker without a server")
    one = len(orphans) == 1
    return warn(
        f"{'process' if one else 'processes'} {', '.join(orphans)} {'works' if one else 'work'} for no server",
        why="Memory is held that nothing uses.",
        todo=f"kill {' '.join(orphans)}",
    )


def rebuild_tables(home: Home) -> CheckReport:
    """Rebuild damaged tables from the log; returns what was found before.

    Held under the home's lock, so a running server is refused. The log itself is verified first: from a damaged
    log nothing is rebuilt. All tables are replaced in one transaction; a rebuild that is killed leaves what was.
    Costs about as long as the check of the store, three times.

    Raises NotFound for a home without a database, HomeInUse, CorruptData for a damaged log, and PromiseBroken
    when something is still wrong afterwards (what is damaged is then not only a table).
    """
    from homefire.config.loader import load_settings
    from homefire.store.database import choose_database
    from homefire.store.store import open_store
    from homefire.world import World

    settings = load_settings(home).settings.store
    database = choose_database(home, settings)
    if not database.exists():
        raise NotFound(f"{home.root} holds no database: there is nothing to rebuild.", home=str(home.root))
    with open_store(home, settings, World(), database=database) as store:
        before = store.check()
        if before.is_sound:
            return before
        store.rebuild()
        after = store.check()
    if not after.is_sound:
        raise PromiseBroken(
            f"The tables were rebuilt from {after.num_events} events, but this is still wrong: "
            + " ".join(after.problems),
            hint="Do not delete anything. Restore a backup, or report it.",
            differed=list(before.problems),
            problems=list(after.problems),
        )
    return before
