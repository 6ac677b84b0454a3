"""The API key: from the environment or a credentials folder, never from the settings file.

Order: `HOMEFIRE_API_KEY`; the file `api_key` in `$CREDENTIALS_DIRECTORY` (systemd's LoadCredential); the file
`credentials/api_key` of the home, which the first start makes.
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
    environ = os.environ if environ is None else environ
    if API_KEY_VARIABLE in environ:
        return check_api_key(environ[API_KEY_VARIABLE], f"environment {API_KEY_VARIABLE}")
    folders = [home.credentials]
    if environ.get(CREDENTIALS_VARIABLE):
        folders.insert(0, Path(environ[CREDENTIALS_VARIABLE]))
    for folder in folders:
        path = folder / API_KEY_FILE
        try:
            text = path.read_text(encoding="ascii")
            mode = path.stat().st_mode
        except FileNotFoundError:
            continue
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"The API key in {path} cannot be read.", key=API_KEY_FILE) from error
        if folder == home.credentials and mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise ConfigError(
                f"{path} can be read by other users of this machine.",
                hint=f"Run: chmod 600 {path}",
                key=API_KEY_FILE,
            )
        return check_api_key(text.strip(), f"file {path}")
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
