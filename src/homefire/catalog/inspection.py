"""Looking at a model's files without trusting them: in a child process with bounds, and typed errors.

The server itself parses nothing that came with a model. A child (`inspect.py`) reads it within `TIMEOUT_S`, with
bounds on CPU time, memory and output, and is ended when it does not keep to them; the error names the file it was
reading. Chat templates are kept by the digest of their model, so a model is looked at once. Costs about 0.2 s a
look.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from homefire.catalog.findings import Inspected, TemplateText
from homefire.errors import BadModel, HomefireError, NotFound, UnsafeModel
from homefire.machine.limited_child import ChildEnd, run_limited

CPU_S = 30
"""A vocabulary of 150,000 words takes half a second."""
TIMEOUT_S = 60.0
"""Longer than the CPU time: the disk may be slow, the machine busy."""
MEMORY_BYTES = 2 << 30
MAX_OUTPUT_BYTES = 8 << 20
_CHILD = "homefire.catalog.inspect"
_ERRORS = (NotFound, UnsafeModel, BadModel)
_log = logging.getLogger(__name__)


async def inspect_model(path: Path) -> Inspected:
    """What the model at `path` is. Raises NotFound, UnsafeModel, BadModel."""
    return msgspec.convert(await _look("model", [path]), Inspected)


async def read_template(paths: Sequence[Path]) -> TemplateText | None:
    """The chat template of a GGUF file, or of the first of these folders that has one. Raises BadModel."""
    return msgspec.convert(await _look("template", paths), TemplateText | None)


async def why_not_teachable(paths: Sequence[Path]) -> str | None:
    """Why nothing could be learned through that template; None where it can. Raises BadModel."""
    return msgspec.convert(await _look("teaching", paths), str | None)


async def _look(what: str, paths: Sequence[Path]) -> Any:
    end = await run_limited(
        _CHILD,
        [what, *map(str, paths), "--cpu-s", str(CPU_S), "--memory-bytes", str(MEMORY_BYTES)],
        timeout_s=TIMEOUT_S,
        max_output_bytes=MAX_OUTPUT_BYTES,
    )
    reading = paths[0].name
    for line in end.output.splitlines():
        try:
            said = msgspec.json.decode(line)
        except msgspec.DecodeError:
            break  # cut off where the child was ended
        if "found" in said:
            return said["found"]
        if "error" in said:
            raise _error(said["error"])
        reading = said["reading"]
    raise BadModel(
        f"This model cannot be read: {reading}: {_why(end)}.",
        hint="Its files are damaged, or were made to do harm. Fetch them from elsewhere.",
        path=str(paths[0]),
    )


def _error(said: dict[str, Any]) -> HomefireError:
    kind = next((kind for kind in _ERRORS if kind.code == said["code"]), BadModel)
    return kind(said["message"], hint=said["hint"])


def _why(end: ChildEnd) -> str:
    if end.status is None:
        return end.why_ended
    if end.status in (-signal.SIGXCPU, -signal.SIGKILL):
        return f"it takes more than {CPU_S} s of computing"
    _log.warning("looking at a model ended with status %s: %s", end.status, end.stderr_tail)
    return f"whatever reads it ends with status {end.status}"
