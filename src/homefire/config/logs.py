"""Where log lines go and what they look like. Every line passes the redactor."""

from __future__ import annotations

import logging
import sys
from typing import TextIO

import msgspec

from homefire.config.redaction import RedactingFilter, Redactor
from homefire.config.schema import LoggingSettings


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (seconds, Unix epoch), level, logger, message, error."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "at_s": record.created,
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        error = record.exc_text or (self.formatException(record.exc_info) if record.exc_info else None)
        if error:
            line["error"] = error
        return msgspec.json.encode(line).decode("utf-8", "replace")


def configure_logging(
    settings: LoggingSettings, redactor: Redactor, *, stream: TextIO | None = None
) -> logging.Handler:
    """Send the root logger to `stream` (standard error), masked; earlier handlers go. Returns the new one."""
    handler = logging.StreamHandler(sys.stderr if stream is None else stream)
    handler.addFilter(RedactingFilter(redactor))
    handler.setFormatter(
        JsonFormatter()
        if settings.format == "json"
        else logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    )
    root = logging.getLogger()
    for earlier in list(root.handlers):
        root.removeHandler(earlier)
    root.addHandler(handler)
    root.setLevel(settings.level.upper())
    return handler
