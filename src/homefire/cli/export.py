"""Writing a conversation to a file, for `sessions export` and `/export`."""

from __future__ import annotations

from pathlib import Path

from homefire.cli.command import Call
from homefire.errors import InvalidRequest


def export_session(call: Call, session_id: str, *, file: Path | None, form: str | None) -> None:
    """Write a session as `md` or `json` (by the file's ending where `form` is None); None prints it.

    An existing file is not overwritten: InvalidRequest.
    """
    if form is None:
        form = "json" if call.json or (file is not None and file.suffix == ".json") else "md"
    text = call.client.text(f"/v1/sessions/{session_id}/export", format=form)
    if file is None:
        call.out.stream.write(text if text.endswith("\n") else text + "\n")
        call.out.stream.flush()
        return
    target = file.expanduser()
    try:
        with target.open("x", encoding="utf-8") as opened:
            opened.write(text)
    except FileExistsError as error:
        raise InvalidRequest(
            f"{target} exists already.", hint="Name another file.", path=str(target)
        ) from error
    except OSError as error:
        raise InvalidRequest(
            f"{target} cannot be written: {error.strerror}.", hint="Name another file.", path=str(target)
        ) from error
    if call.json:
        call.out.document({"session_id": session_id, "path": str(target), "format": form})
    call.out.line(f"Written to {target}.")
