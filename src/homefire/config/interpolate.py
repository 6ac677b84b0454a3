"""`${VAR}` and `${VAR:-default}` inside text. `$${` writes a literal `${`. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

_MARK = re.compile(r"\$\$\{|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<default>:-[^}]*)?\}|\$\{")


class UnsetVariable(ValueError):
    """A variable without a default is not set; `name` says which."""

    def __init__(self, name: str) -> None:
        super().__init__(f"the environment variable {name} is not set and has no default")
        self.name = name


def interpolate(text: str, environ: Mapping[str, str]) -> str:
    """`text` with every mark replaced; the default also stands in for an empty variable, as in a shell.

    Raises UnsetVariable, or ValueError for a `${` that is not closed or names no variable.
    """

    def value_of(match: re.Match[str]) -> str:
        if match[0] == "$${":
            return "${"
        name, default = match["name"], match["default"]
        if name is None:
            raise ValueError(
                "'${' starts no variable: write ${NAME} or ${NAME:-default}, or $${ for the text"
            )
        value = environ.get(name)
        if value or (value is not None and default is None):
            return value
        if default is None:
            raise UnsetVariable(name)
        return str(default[2:])

    return _MARK.sub(value_of, text)
