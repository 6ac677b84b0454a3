"""The secrets: from the environment or a credentials folder, never from the settings file.

Order, for the API key: `HOMEFIRE_API_KEY`; the file `api_key` in `$CREDENTIALS_DIRECTORY` (systemd's
LoadCredential); the file `credentials/api_key` of the home, which the first start makes. The same places hold the
password of the database server: `HOMEFIRE_DATABASE_PASSWORD`, or files named `database_password`.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from homefire.config.redaction import MASK, MIN_SECRET_LENGTH
from homefire.errors import ConfigError
from homefire.home import Home

API_KEY_VARIABLE = "HOMEFIRE_API_KEY"
CREDENTIALS_VARIABLE = "CREDENTIALS_DIRECTORY"
API_KEY_FILE = "api_key"
DATABASE_PASSWORD_VARIABLE = "HOMEFIRE_DATABASE_PASSWORD"
DATABASE_PASSWORD_FILE = "database_password"
_SECRET_NAME = re.compile(
    r"(^|_)(API_?)?(KEY|KEYS|TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIALS?)(_|$)|DATABASE_URL"
)
_PRINTABLE = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True)
class Secret:
    """A text that does not print itself; `reveal` gives it, `origin` says where it came from."""

    _value: str = field(repr=False)
    origin: str

    def reveal(self) -> str:
        return self._value

    def __str__(self) -> str:
        return MASK


def without_secrets(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment for a child process: it has no use for keys and passwords, so it cannot lose them.

    Everything whose name says that it is one is left out (`HOMEFIRE_API_KEY`, `HF_TOKEN`, `DB_PASSWORD`, …).
    """
    return {name: value for name, value in environ.items() if not _SECRET_NAME.search(name.upper())}


def load_api_key(home: Home, *, environ: Mapping[str, str] | None = None) -> Secret | None:
    """The key, or None where there is none yet.

    Raises ConfigError for one that is empty, too short or not printable, or a file that others may read.
    """
    found = _find_secret(
        home, os.environ if environ is None else environ, variable=API_KEY_VARIABLE, file=API_KEY_FILE
    )
    return None if found is None else check_api_key(*found)


def load_database_password(home: Home, *, environ: Mapping[str, str] | None = None) -> Secret | None:
    """The password of the role in `store.url`, or None: the server may need none, or libpq knows it
    (`PGPASSWORD`, `~/.pgpass`).

    Raises ConfigError for an empty one, or a file that others may read.
    """
    found = _find_secret(
        home,
        os.environ if environ is None else environ,
        variable=DATABASE_PASSWORD_VARIABLE,
        file=DATABASE_PASSWORD_FILE,
    )
    if found is None:
        return None
    text, origin = found
    if not text:
        raise ConfigError(f"The password of the database ({origin}) is empty.", key=DATABASE_PASSWORD_FILE)
    return Secret(text, origin)


def _find_secret(
    home: Home, environ: Mapping[str, str], *, variable: str, file: str
) -> tuple[str, str] | None:
    """`(text, where it came from)`; None where it is in none of the places."""
    if variable in environ:
        return environ[variable], f"environment {variable}"
    folders = [home.credentials]
    if environ.get(CREDENTIALS_VARIABLE):
        folders.insert(0, Path(environ[CREDENTIALS_VARIABLE]))
    for folder in folders:
        path = folder / file
        try:
            text = path.read_text(encoding="utf-8")
            mode = path.stat().st_mode
        except FileNotFoundError:
            continue
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"The secret in {path} cannot be read.", key=file) from error
        if folder == home.credentials and mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise ConfigError(
                f"{path} can be read by other users of this machine.", hint=f"Run: chmod 600 {path}", key=file
            )
        return text.strip(), f"file {path}"
    return None


def check_api_key(text: str, origin: str) -> Secret:
    """The key as a Secret. Raises ConfigError (which does not print it) when it cannot be one."""
    if len(text) < MIN_SECRET_LENGTH or not _PRINTABLE.fullmatch(text):
        raise ConfigError(
            f"The API key ({origin}) is not one: it needs at least {MIN_SECRET_LENGTH} printable characters "
            "without spaces.",
            key=API_KEY_FILE,
        )
    return Secret(text, origin)
