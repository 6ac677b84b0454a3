"""Where everything of one Homefire lives: the home directory and the name of each place in it.

A `Home` is a value: it computes paths and touches the disk only in `create`.
"""

from __future__ import annotations

import errno
import hmac
from dataclasses import dataclass
from pathlib import Path

from homefire.errors import StoreError, StoreReadOnly


@dataclass(frozen=True, slots=True)
class Home:
    """The home directory at `root` (absolute). Everything below is readable by its owner only."""

    root: Path

    @property
    def settings_file(self) -> Path:
        return self.root / "homefire.toml"

    @property
    def database(self) -> Path:
        return self.root / "homefire.db"

    @property
    def witness(self) -> Path:
        """What says up to which event the log must reach."""
        return self.root / "homefire.tail"

    @property
    def blobs(self) -> Path:
        return self.root / "blobs"

    @property
    def base_models(self) -> Path:
        return self.root / "models" / "base"

    @property
    def versions(self) -> Path:
        return self.root / "models" / "versions"

    @property
    def live_link(self) -> Path:
        """A symbolic link to the folder of the version that is live."""
        return self.root / "models" / "live"

    @property
    def cache(self) -> Path:
        """What can be made again (converted models): may be deleted at any time."""
        return self.root / "cache"

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    @property
    def sockets(self) -> Path:
        """Sockets and locks of running processes."""
        return self.root / "run"

    @property
    def lock_file(self) -> Path:
        """Held by the one server of this home; its content is that server's process id."""
        return self.sockets / "server.lock"

    @property
    def credentials(self) -> Path:
        return self.root / "credentials"

    @property
    def backups(self) -> Path:
        return self.root / "backups"

    def create(self) -> Home:
        """Make the directories that are missing, mode 0700; harmless when all are there.

        Raises StoreReadOnly where the place cannot be written, StoreError where a file is in the way.
        """
        places = (
            self.root, self.blobs, self.root / "models", self.base_models, self.versions, self.cache,
            self.runs, self.sockets, self.credentials, self.backups,
        )  # fmt: skip
        for place in places:
            try:
                place.mkdir(mode=0o700, parents=True, exist_ok=True)
            except FileExistsError as error:
                raise StoreError(
                    f"{place} should be a directory, but a file is in the way.",
                    hint="Move that file away, or choose another home with HOMEFIRE_HOME.",
                    path=str(place),
                ) from error
            except OSError as error:
                if error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM):
                    raise StoreError(f"{place} cannot be made: {error.strerror}.", path=str(place)) from error
                raise StoreReadOnly(
                    f"The home directory {self.root} cannot be written: {error.strerror} at {place}.",
                    hint="Make it writable for this user, or choose another home with HOMEFIRE_HOME.",
                    path=str(place),
                ) from error
        return self


def proof_of_home(token: str, challenge: str) -> str:
    """What only a process that can read this home's `run/server.json` answers to a challenge."""
    return hmac.new(token.encode(), f"homefire {challenge}".encode(), "sha256").hexdigest()
