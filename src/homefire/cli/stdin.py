"""What comes in on standard input: a pipe or a file is read, a terminal or nothing at all is not.

Reading a pipe ends when its writer closes it. A program that starts `homefire` with a pipe it never closes gives
it `< /dev/null` instead.
"""

from __future__ import annotations

import os
import stat
import sys

from homefire.errors import InvalidRequest


def is_given() -> bool:
    """Whether standard input is a pipe, a file or a socket; not a terminal, `/dev/null` or closed."""
    if sys.stdin is None or sys.stdin.closed:
        return False
    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
    except (OSError, ValueError):
        return not sys.stdin.isatty()
    return stat.S_ISFIFO(mode) or stat.S_ISREG(mode) or stat.S_ISSOCK(mode)


def read_text() -> str:
    """All of it, without the newline at its end. InvalidRequest where it is not UTF-8 text."""
    if sys.stdin is None or sys.stdin.closed:
        return ""
    try:
        raw = getattr(sys.stdin, "buffer", None)
        text = raw.read().decode("utf-8") if raw is not None else sys.stdin.read()
    except UnicodeDecodeError as error:
        raise InvalidRequest(
            "Standard input is not UTF-8 text.", hint="Convert it first, for example with iconv."
        ) from error
    return text.replace("\r\n", "\n").rstrip("\n")
