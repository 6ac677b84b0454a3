"""Redaction of secrets: one place that knows them and masks them in every text that goes out.

Everything that is logged passes `RedactingFilter`; error answers pass `Redactor.redact`. API keys are also
known by their shape (`hf-` and 43 URL-safe characters), so one that was never registered is masked too.
What JSON, Python, HTML and URLs make of a secret is masked like the secret. Costs one regular expression a
text.
"""

from __future__ import annotations

import html
import json
import logging
import re
import threading
from urllib.parse import quote

MASK = "[redacted]"
MIN_SECRET_LENGTH = 8
"""Shorter texts are not secrets: masking them would eat ordinary words."""
_KEY_SHAPE = r"hf-[A-Za-z0-9_-]{43}"
_BEARER_SHAPE = r"(?<=[Bb]earer )[A-Za-z0-9._~+/=-]{8,}"


def looks_like_secret(text: str) -> bool:
    """Whether the text holds something of the shape of one of our API keys."""
    return re.search(_KEY_SHAPE, text) is not None


class Redactor:
    """Knows the secrets of this process. Safe from many threads."""

    def __init__(self, *secrets: str) -> None:
        self._lock = threading.Lock()
        self._secrets: frozenset[str] = frozenset()
        self._pattern = self._compile()
        for secret in secrets:
            self.register(secret)

    def register(self, secret: str) -> None:
        """Mask this text from now on. Raises ValueError when it is too short to be told from a word."""
        if len(secret) < MIN_SECRET_LENGTH:
            raise ValueError(f"A secret needs at least {MIN_SECRET_LENGTH} characters.")
        with self._lock:
            self._secrets |= _forms_of(secret)
            self._pattern = self._compile()

    def redact(self, text: str) -> str:
        """`text` with every known secret and everything of a key's shape masked."""
        return self._pattern.sub(MASK, text)

    def _compile(self) -> re.Pattern[str]:
        longest_first = sorted(self._secrets, key=len, reverse=True)
        return re.compile("|".join([*map(re.escape, longest_first), _KEY_SHAPE, _BEARER_SHAPE]))


def _forms_of(secret: str) -> frozenset[str]:
    """The secret as it appears in text, JSON, a Python literal, a URL and a page."""
    forms = {secret, json.dumps(secret)[1:-1], repr(secret)[1:-1], quote(secret), quote(secret, safe="")}
    return frozenset(forms | {html.escape(secret), html.escape(secret, quote=False)})


class RedactingFilter(logging.Filter):
    """Put it on a handler: message, arguments, traceback and stack leave it masked."""

    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self._redactor = redactor
        self._formatter = logging.Formatter()

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = self._redactor.redact(record.getMessage()), None
        if record.exc_info and not record.exc_text:
            record.exc_text = self._formatter.formatException(record.exc_info)
        if record.exc_text:
            record.exc_text = self._redactor.redact(record.exc_text)
        if record.stack_info:
            record.stack_info = self._redactor.redact(record.stack_info)
        return True
