"""Which server a command means, and how that server shows that it is the one.

A server is named by `--url`, or it is the one of a home: `--home`, else (where `HOMEFIRE_URL` does not name a
server) `HOMEFIRE_HOME` or `~/.homefire`. The server of a home writes `run/server.json`: its URL, its process
and a random token of this start. Before anything else is sent, the process must live, hold the home's lock,
and answer a challenge with that token. So a stale file, a process id used again, or the server of another home
on the same port get no command and no key.
"""

from __future__ import annotations

import ipaddress
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from homefire.errors import ConfigError, ServerUnreachable

SERVER_FILE = "server.json"


@dataclass(frozen=True, slots=True)
class Running:
    """What a server wrote when it began to listen."""

    url: str
    pid: int
    token: str


@dataclass(frozen=True, slots=True)
class Address:
    """A server to speak to: the one of `home`, the one at `url`, or (both) the one of `home` at `url`."""

    url: str | None
    key: str | None
    home: Path | None
    source: str

    @property
    def name(self) -> str:
        """What to call it before it is found."""
        return self.url or f"the home {self.home}"

    def locate(self) -> tuple[str, str | None]:
        """Its URL, and the token it must know (None: any server will do). ServerUnreachable without one."""
        if self.home is None:
            assert self.url is not None, "an address names a URL or a home"
            return self.url, None
        found = read_server_file(self.home) if self.url is not None else running_server(self.home)
        if found is None:
            raise ServerUnreachable(
                f"No server is running for the home {self.home}.",
                hint="Start one with `homefire up`, or name another one with --url.",
                home=str(self.home),
            )
        return self.url or found.url, found.token

    def own_key(self) -> str | None:
        """The key in this home's credentials folder, for a server that asks; None where there is none."""
        if self.home is None:
            return None
        try:
            return (self.home / "credentials" / "api_key").read_text(encoding="utf-8").strip() or None
        except OSError:
            return None


def home_root(home: Path | None, environ: Mapping[str, str]) -> Path:
    """The home directory that `--home`, `HOMEFIRE_HOME` or the default names."""
    if home is not None:
        return home.expanduser().absolute()
    return Path(environ.get("HOMEFIRE_HOME") or "~/.homefire").expanduser().absolute()


def find_server(
    *,
    home: Path | None = None,
    url: str | None = None,
    key: str | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Address:
    """The server these options mean; nothing is contacted. ConfigError for what is not a URL.

    An option outranks the environment: `--home` means that home's own server, whatever `HOMEFIRE_URL` says.
    """
    key = key or environ.get("HOMEFIRE_API_KEY") or None
    if url:
        return Address(_checked(url, "--url"), key, home_root(home, environ) if home else None, "--url")
    if home is None and environ.get("HOMEFIRE_URL"):
        return Address(_checked(environ["HOMEFIRE_URL"], "HOMEFIRE_URL"), key, None, "HOMEFIRE_URL")
    root = home_root(home, environ)
    return Address(None, key, root, f"{root}/run/{SERVER_FILE}")


def read_server_file(root: Path) -> Running | None:
    """What the server of this home wrote, true or stale; None where nothing sensible is written."""
    try:
        written = json.loads((root / "run" / SERVER_FILE).read_text(encoding="utf-8"))
        found = Running(str(written["url"]), int(written["pid"]), str(written["token"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if found.token and _is_url(found.url) else None


def running_server(root: Path) -> Running | None:
    """The server that owns this home now; None where none does, or where it is not listening yet.

    The lock is tried last, and only where everything else fits: a trial of a free lock could refuse it to a
    server that is just starting.
    """
    from homefire.home import Home
    from homefire.store.lock import lock_holder

    home, written = Home(root), read_server_file(root)
    if written is None or not _is_alive(written.pid):
        return None
    try:
        owner = home.lock_file.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return None
    return written if owner == str(written.pid) and lock_holder(home) == written.pid else None


def is_loopback(url: str) -> bool:
    """Whether a URL leads to this machine: such requests never go through a proxy."""
    host = (urlsplit(url).hostname or "").rstrip(".").lower()
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return pid > 0


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)


def _checked(url: str, source: str) -> str:
    if not _is_url(url):
        raise ConfigError(
            f"{source} is “{url}”, which is not a URL.",
            hint="Write it with its scheme, for example http://127.0.0.1:8765.",
            key="url",
        )
    return url.rstrip("/")
