"""A real PostgreSQL server of the tests' own: Debian's binaries, a temporary folder, a Unix socket, no port.

PostgreSQL refuses to run as root, so root starts it as the user `postgres` (or `nobody`). It flushes as in real use.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import psycopg

ROLE = "homefire"
START_TIMEOUT_S = 60


def find_binaries() -> Path | None:
    """The folder with `postgres` and `initdb`: the newest of Debian's, or the one on the path."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda it: int(it.parts[-3]))
    if debian:
        return debian[-1].parent
    found = shutil.which("initdb")
    return Path(found).resolve().parent if found else None


class PostgresServer:
    """One cluster, running. `template`: the untouched data of another one, which saves seconds."""

    def __init__(self, binaries: Path, *, template: Path | None = None) -> None:
        self.binaries = binaries
        # A socket's path has room for 107 bytes: not below pytest's deep folders.
        self.folder = Path(tempfile.mkdtemp(prefix="hf-pg-"))
        self._user: dict[str, object] = {}
        if os.geteuid() == 0:
            account = _unprivileged()
            self._user = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
            os.chown(self.folder, account.pw_uid, account.pw_gid)
        self._process: subprocess.Popen[bytes] | None = None
        self._template = template or self.folder / "template"
        if template is None:
            options = ("-U", ROLE, "-A", "trust", "-E", "UTF8", "--locale=C", "--data-checksums", "--no-sync")
            self._run(self.binaries / "initdb", "-D", str(self._template), *options)
        self._run("cp", "-a", str(self._template), self._data)
        self.start()

    @property
    def _data(self) -> str:
        return str(self.folder / "data")

    def _in_cluster(self, name: str) -> Path:
        return Path(self._data) / name

    def another(self) -> PostgresServer:
        """A server of its own that may be stopped and killed."""
        return PostgresServer(self.binaries, template=self._template)

    def url(self, database: str = "postgres", *, schema: str | None = None) -> str:
        """How to reach a database of it, with tables in `schema`."""
        options = f"&options={quote(f'-csearch_path={schema}')}" if schema else ""
        return f"postgresql://{ROLE}@/{database}?host={quote(str(self.folder), safe='')}{options}"

    def connect(self, **options: str) -> psycopg.Connection:
        """A connection that commits each statement."""
        return psycopg.connect(self.url(**options), autocommit=True)

    def configure(self, *lines: str) -> None:
        """Add lines to postgresql.conf, for the next start."""
        with self._in_cluster("postgresql.conf").open("a") as file:
            file.write("\n".join(["", *lines]) + "\n")

    def require_password(self) -> None:
        """From the next start on no one is let in without one."""
        self.stop()
        self._in_cluster("pg_hba.conf").write_text("local all all scram-sha-256\n")
        self.start()

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    self.binaries / "postgres", "-D", self._data, "-k", str(self.folder),
                    "-c", "listen_addresses=", "-c", "max_connections=60", "-c", "shared_buffers=32MB",
                ],
                stdout=log, stderr=log, cwd="/", **self._user,  # type: ignore[call-overload]
            )  # fmt: skip
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline_s:
            if self._process.poll() is not None:
                break
            try:
                self.connect().close()
            except psycopg.OperationalError as error:
                if "password" in str(error):
                    return
            else:
                return
            time.sleep(0.02)
        raise AssertionError(f"PostgreSQL did not start:\n{(self.folder / 'log').read_text()}")

    def stop(self, with_signal: int = signal.SIGINT) -> None:
        """End it: SIGINT ends every session at once, SIGQUIT leaves recovery to the next start."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(with_signal)
            self._process.wait(START_TIMEOUT_S)

    def kill(self) -> None:
        """End all its processes with -9, as a crash does."""
        assert self._process is not None
        with self.connect() as connection:
            pids = [row[0] for row in connection.execute("SELECT pid FROM pg_stat_activity")]
        for pid in (self._process.pid, *pids):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait(START_TIMEOUT_S)
        for pid in pids:
            _wait_until_gone(pid)
        self._in_cluster("postmaster.pid").unlink(missing_ok=True)

    def remove(self) -> None:
        """End it and delete everything."""
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder)

    def _run(self, program: Path | str, *arguments: str) -> None:
        done = subprocess.run(
            [program, *arguments],
            capture_output=True,
            text=True,
            cwd="/",
            **self._user,  # type: ignore[call-overload]
        )
        assert done.returncode == 0, done.stderr


def _unprivileged() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            return pwd.getpwnam(name)
    raise AssertionError("There is neither a user postgres nor nobody to run PostgreSQL as.")


def _wait_until_gone(pid: int) -> None:
    """A killed backend may hold shared memory for a moment longer than its parent."""
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline_s:
        time.sleep(0.005)
