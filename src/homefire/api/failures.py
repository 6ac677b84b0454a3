"""Errors in the shape each dialect's clients expect, on the response and in the middle of a stream.

For every front door: one `HomefireError` becomes a status, headers and a body here and nowhere else. An
exception that is not one of ours is logged with its traceback and shown as `internal_error` without its text.
Everything that leaves is redacted. Costs nothing while nothing fails.

Shapes: OpenAI https://platform.openai.com/docs/guides/error-codes, Anthropic https://docs.anthropic.com/en/api/errors,
Ollama https://github.com/ollama/ollama/blob/main/docs/api.md (a string), native: docs/reference/errors.md.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import Any, Literal

import msgspec

from homefire.api.asgi import Headers
from homefire.errors import HomefireError, MethodNotAllowed, UnsupportedMediaType

Dialect = Literal["openai", "anthropic", "ollama", "native"]
Redact = Callable[[str], str]
MAX_SHOWN_CHARS = 2_000
"""Of a text in an error: what a client sent in millions comes back to it shortened."""

_log = logging.getLogger(__name__)

_ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}
_OPENAI_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


class NativeErrorBody(msgspec.Struct, frozen=True):
    """What went wrong: a stable code, what happened, what to do, the figures."""

    code: str
    message: str
    hint: str | None
    details: dict[str, Any]


class NativeError(msgspec.Struct, frozen=True):
    """Every answer of the native API that is not 2xx."""

    error: NativeErrorBody


class OpenAIErrorBody(msgspec.Struct, frozen=True):
    """What went wrong; `param` names the field."""

    message: str
    type: str
    param: str | None
    code: str


class OpenAIError(msgspec.Struct, frozen=True):
    """Every answer of the OpenAI dialect that is not 2xx."""

    error: OpenAIErrorBody


class AnthropicErrorBody(msgspec.Struct, frozen=True):
    """What went wrong; the message names the field."""

    type: str
    message: str


class AnthropicError(msgspec.Struct, frozen=True, tag_field="type", tag="error"):
    """Every answer of the Anthropic dialect that is not 2xx."""

    error: AnthropicErrorBody


class OllamaError(msgspec.Struct, frozen=True):
    """Every answer of the Ollama dialect that is not 2xx."""

    error: str


ErrorDocument = NativeError | OpenAIError | AnthropicError | OllamaError
ERROR_TYPES: dict[Dialect, type[msgspec.Struct]] = {
    "native": NativeError,
    "openai": OpenAIError,
    "anthropic": AnthropicError,
    "ollama": OllamaError,
}


def dialect_of_tag(tag: str) -> Dialect:
    """The dialect of a group of routes: three have a group of their own name, all others are native."""
    return tag if tag in ("openai", "anthropic", "ollama") else "native"  # type: ignore[return-value]


def to_homefire_error(exception: BaseException, *, request_id: str = "-") -> HomefireError:
    """Our own error as it is; anything else is logged and hidden behind `internal_error`."""
    if isinstance(exception, HomefireError):
        if exception.http_status >= 500:
            _log.warning("%s: %s (request %s)", exception.code, exception, request_id)
        return exception
    _log.error("unexpected error while serving request %s", request_id, exc_info=exception)
    return HomefireError(
        "An unexpected error happened inside the server.",
        hint="The server's log has the details; please report it.",
    )


def error_document(error: HomefireError, dialect: Dialect, *, redact: Redact) -> ErrorDocument:
    """What a client of this dialect understands, redacted. Texts of a client come back shortened."""
    status, message = error.http_status, _shown(str(error), redact)
    if dialect == "openai":
        kind = _OPENAI_TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
        param = error.details.get("param")
        shown = None if param is None else _shown(str(param), redact)
        return OpenAIError(OpenAIErrorBody(message=message, type=kind, param=shown, code=error.code))
    if dialect == "anthropic":
        default = "api_error" if status >= 500 else "invalid_request_error"
        return AnthropicError(AnthropicErrorBody(_ANTHROPIC_TYPES.get(status, default), message))
    if dialect == "ollama":
        return OllamaError(message)
    return NativeError(
        NativeErrorBody(
            code=error.code,
            message=_shown(error.message, redact),
            hint=None if error.hint is None else _shown(error.hint, redact),
            details={
                name: value if isinstance(value, int | float | None) else _shown_value(value, redact)
                for name, value in error.details.items()
            },
        )
    )


def _shown(text: str, redact: Redact) -> str:
    """Redacted, then cut: a secret that the first cut divides does not reach the second."""
    if len(text) <= MAX_SHOWN_CHARS:
        return redact(text)
    return f"{redact(text[: 2 * MAX_SHOWN_CHARS])[:MAX_SHOWN_CHARS]}… ({len(text)} characters)"


def _shown_value(value: Any, redact: Redact) -> Any:
    if isinstance(value, str):
        return _shown(value, redact)
    text = msgspec.json.encode(value, enc_hook=str).decode()
    return msgspec.Raw(redact(text).encode()) if len(text) <= MAX_SHOWN_CHARS else _shown(text, redact)


def error_bytes(error: HomefireError, dialect: Dialect, *, redact: Redact) -> bytes:
    """`error_document` as JSON."""
    return msgspec.json.encode(error_document(error, dialect, redact=redact))


def error_headers(error: HomefireError) -> Headers:
    """What HTTP wants beside the body: when to come back, how to authenticate, what is allowed."""
    headers: Headers = [(b"content-type", b"application/json"), (b"x-homefire-error", error.code.encode())]
    if error.http_status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if "retry_after_s" in error.details:
        retry_after_s = max(1, math.ceil(error.details["retry_after_s"]))
        headers.append((b"retry-after", str(retry_after_s).encode()))
    if isinstance(error, MethodNotAllowed):
        headers.append((b"allow", ", ".join(error.details.get("allowed", ())).encode()))
    if isinstance(error, UnsupportedMediaType) and "encodings" in error.details:
        headers.append((b"accept-encoding", ", ".join(error.details["encodings"]).encode()))
    return headers


def stream_error(error: HomefireError, dialect: Dialect, *, redact: Redact) -> bytes:
    """The error as the last thing of a stream that has begun: SSE, or a JSON line for Ollama."""
    body = error_bytes(error, dialect, redact=redact)
    if dialect == "ollama":
        return body + b"\n"
    if dialect == "openai":
        return b"data: " + body + b"\n\n"
    return b"event: error\ndata: " + body + b"\n\n"
