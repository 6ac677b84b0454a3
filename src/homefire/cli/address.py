"""Where the server is and with which key to speak to it.

Order: `--url`, then `HOMEFIRE_URL`, then what a running server of this home wrote (`run/server.json`), then
the settings of this home. A home's own key is only ever sent to that home's own server: a foreign `--url`
gets the key that was given for it (`--key`, `HOMEFIRE_API_KEY`) or none.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from homefire.errors import ConfigError

_ANY_HOST = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}
SERVER_FILE = "server.json"


@dataclass(frozen=True, slots=True)
class Address:
    """A server to speak to. `home` is set where it is the server of a home on this machine."""

    url: str
    key: str | None
    home: Path | None
    source: str

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
    """The server these options mean; nothing is contacted. ConfigError for a URL that is none."""
    key = key or environ.get("HOMEFIRE_API_KEY") or None
    given = url or environ.get("HOMEFIRE_URL")
    if given:
        source = "--url" if url else "HOMEFIRE_URL"
        return Address(_checked(given, source), key, None, source)
    root = home_root(home, environ)
    running = read_server_file(root)
    if running is not None:
        return Address(running, key, root, f"{root}/run/{SERVER_FILE}")
    return Address(_from_settings(root, environ), key, root, "settings")


def read_server_file(root: Path) -> str | None:
    """The URL that the server of this home wrote when it began to listen; None when none runs."""
    try:
        written = json.loads((root / "run" / SERVER_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    url = written.get("url") if isinstance(written, dict) else None
    return url if isinstance(url, str) and url.startswith("http") else None


def url_of(host: str, port: int) -> str:
    """The URL at which a server that listens on `host` is reached from this machine."""
    host = _ANY_HOST.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _from_settings(root: Path, environ: Mapping[str, str]) -> str:
    from homefire.config.loader import load_settings
    from homefire.home import Home

    server = load_settings(Home(root), environ=environ).settings.server
    return url_of(server.host, server.port)


def _checked(url: str, source: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise ConfigError(
            f"{source} is {url!r}, which is not a URL.",
            hint="Write it with its scheme, for example http://127.0.0.1:8765.",
            key="url",
        )
    return url.rstrip("/")
