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
from collections.abc import Callable, Iterable
from typing import Any, Literal

import msgspec

from homefire.errors import HomefireError, MethodNotAllowed, QueueFull

Dialect = Literal["openai", "anthropic", "ollama", "native"]
Redact = Callable[[str], str]
Headers = list[tuple[bytes, bytes]]

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


def dialect_of(path: str, header_names: Iterable[bytes] = ()) -> Dialect:
    """Whose clients call this address, for errors that arise before a handler is chosen."""
    if path.startswith("/api/"):
        return "ollama"
    if path.startswith("/v1/messages"):
        return "anthropic"
    if path == "/v1/models" or path.startswith("/v1/models/"):
        return "anthropic" if b"anthropic-version" in header_names else "openai"
    if path.startswith(("/v1/chat/", "/v1/embeddings")):
        return "openai"
    return "native"


def understood(exception: BaseException) -> HomefireError:
    """Our own error as it is; anything else is logged and hidden behind `internal_error`."""
    if isinstance(exception, HomefireError):
        if exception.http_status >= 500:
            _log.warning("%s: %s", exception.code, exception)
        return exception
    _log.error("unexpected error while serving a request", exc_info=exception)
    return HomefireError(
        "Something went wrong inside the server.", hint="The server's log has the details; please report it."
    )


def error_document(error: HomefireError, dialect: Dialect) -> dict[str, Any]:
    """The JSON object a client of this dialect understands."""
    status = error.http_status
    if dialect == "openai":
        kind = _OPENAI_TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
        return {
            "error": {
                "message": str(error),
                "type": kind,
                "param": error.details.get("param"),
                "code": error.code,
            }
        }
    if dialect == "anthropic":
        default = "api_error" if status >= 500 else "invalid_request_error"
        return {
            "type": "error",
            "error": {"type": _ANTHROPIC_TYPES.get(status, default), "message": str(error)},
        }
    if dialect == "ollama":
        return {"error": str(error)}
    return {
        "error": {
            "code": error.code,
            "message": error.message,
            "hint": error.hint,
            "details": error.details,
        }
    }


def error_bytes(error: HomefireError, dialect: Dialect, *, redact: Redact) -> bytes:
    """`error_document` as redacted JSON."""
    text = msgspec.json.encode(error_document(error, dialect), enc_hook=str).decode()
    return redact(text).encode()


def error_headers(error: HomefireError) -> Headers:
    """What HTTP wants beside the body: when to come back, how to authenticate, what is allowed."""
    headers: Headers = [(b"x-homefire-error", error.code.encode())]
    if error.http_status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if isinstance(error, QueueFull):
        retry_after_s = math.ceil(error.details.get("retry_after_s", 1))
        headers.append((b"retry-after", str(max(1, retry_after_s)).encode()))
    if isinstance(error, MethodNotAllowed):
        headers.append((b"allow", ", ".join(error.details.get("allowed", ())).encode()))
    return headers


def stream_error(error: HomefireError, dialect: Dialect, *, redact: Redact) -> bytes:
    """The error as the last thing of a stream that has begun: SSE, or a JSON line for Ollama."""
    body = error_bytes(error, dialect, redact=redact)
    if dialect == "ollama":
        return body + b"\n"
    if dialect == "openai":
        return b"data: " + body + b"\n\n"
    return b"event: error\ndata: " + body + b"\n\n"
