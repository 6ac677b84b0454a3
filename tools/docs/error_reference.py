"""Write docs/reference/errors.md from the error classes.

    python -m tools.docs.error_reference

A test compares the committed page with what this makes.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path

from homefire import errors
from homefire.errors import HomefireError

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "errors.md"
HEAD = """\
# Every error

Made from `src/homefire/errors.py` by `python -m tools.docs.error_reference`.

An error says what happened, why, and what to do. Its code is stable: the API sends it in the header
`X-Homefire-Error` and, where the dialect has a place for it, in the body; the command line ends with its
exit code.

| dialect | shape |
|---|---|
| OpenAI | `{"error": {"message", "type", "param", "code"}}` |
| Anthropic | `{"type": "error", "error": {"type", "message"}}` |
| Ollama | `{"error": "message"}` |
| Homefire's own | `{"error": {"code", "message", "hint", "details"}}` |

| code | HTTP | exit | meaning |
|---|---|---|---|
"""


def kinds() -> Iterator[type[HomefireError]]:
    """Every class with a code of its own, in the order of the file."""
    seen: set[str] = set()
    for kind in vars(errors).values():
        if inspect.isclass(kind) and issubclass(kind, HomefireError) and kind.code not in seen:
            seen.add(kind.code)
            yield kind


def meaning(kind: type[HomefireError]) -> str:
    """What the class says of itself."""
    if kind is HomefireError:
        return "An unexpected error happened inside; the server's log says what."
    text = " ".join((inspect.getdoc(kind) or "").split())
    return text.replace("|", "\\|")


def make_page() -> str:
    """The whole page."""
    rows = [
        f"| `{kind.code}` | {kind.http_status} | {kind.exit_code} | {meaning(kind)} |\n" for kind in kinds()
    ]
    return HEAD + "".join(rows)


if __name__ == "__main__":
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(make_page(), encoding="utf-8")
