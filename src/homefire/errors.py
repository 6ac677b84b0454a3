"""Every error a user or a client can meet, in one place.

An error says what happened (`message`), why (`details`: the figures) and what to do (`hint`). `code` is
stable and documented; `http_status` and `exit_code` say how the front doors report it. Front doors translate
these into their dialect's own error shape; nothing below them knows HTTP or a terminal.
"""

from __future__ import annotations

from typing import Any, ClassVar, Self


def quoted(name: object) -> str:
    """A name as messages show it: in single quotes, with what cannot be printed escaped."""
    text = str(name)
    if not text.isprintable():
        text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return f"'{text}'"


class HomefireError(Exception):
    """Base of all errors meant for people.

    `details` is JSON-able and holds figures (`{"prompt_tokens": 3000, "limit": 1024}`), never secrets.
    """

    code: ClassVar[str] = "internal_error"
    http_status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str | None = None, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = details

    def __str__(self) -> str:
        return f"{self.message} {self.hint}" if self.hint else self.message

    def copy(self) -> Self:
        """The same error for one more request: an instance that is raised twice would mix up tracebacks."""
        return type(self)(self.message, hint=self.hint, **self.details)


# Requests: what the client sent cannot be served as it is.


class InvalidRequest(HomefireError):
    """A malformed or contradictory request; `details["param"]` names the field where known."""

    code, http_status, exit_code = "invalid_request", 400, 2


class UnsupportedParameter(InvalidRequest):
    """A field this server does not act on. It is named, never ignored (`details["param"]`)."""

    code = "unsupported_parameter"


class ContextOverflow(InvalidRequest):
    """The prompt does not fit: `details` holds `prompt_tokens`, `limit` and `max_tokens`."""

    code = "context_length_exceeded"


class BodyTooLarge(InvalidRequest):
    """The request body is larger than `server.max_body_bytes`."""

    code, http_status = "body_too_large", 413


class UnsupportedMediaType(InvalidRequest):
    """A write whose body is not declared as JSON: a page of another site could have sent it."""

    code, http_status = "unsupported_media_type", 415


class MethodNotAllowed(InvalidRequest):
    """The address exists, but not for this HTTP method; `details["allowed"]` lists those it has."""

    code, http_status = "method_not_allowed", 405


class RequestTimeout(HomefireError):
    """The request was not finished within `server.request_timeout_s` and was cancelled."""

    code, http_status, exit_code = "request_timeout", 504, 8


class ServerStopping(HomefireError):
    """The server ends and this request outlasted `server.drain_timeout_s`; ask again when it is back."""

    code, http_status, exit_code = "server_stopping", 503, 8


class NotFound(HomefireError):
    """The thing that was named does not exist."""

    code, http_status, exit_code = "not_found", 404, 4


class ModelNotFound(NotFound):
    """No model, version or alias has this name; `details["nearest"]` may suggest one."""

    code = "model_not_found"


class Conflict(HomefireError):
    """The request is right but not in this state (deleting what is live, resuming what is not paused)."""

    code, http_status, exit_code = "conflict", 409, 5


class AnswerStopped(Conflict):
    """Somebody stopped this answer elsewhere, or the server did; what was written is on record."""

    code = "answer_stopped"


class AuthenticationRequired(HomefireError):
    """No key, or one that is not known."""

    code, http_status, exit_code = "authentication_required", 401, 6


class Forbidden(HomefireError):
    """A known caller, or a foreign Host or Origin, that may not do this."""

    code, http_status, exit_code = "forbidden", 403, 6


class QueueFull(HomefireError):
    """Too many requests wait already; `details["retry_after_s"]` says when to come back."""

    code, http_status, exit_code = "queue_full", 429, 7


# Engines.


class EngineError(HomefireError):
    """The engine could not answer; the request was not lost on our side and may be retried."""

    code, http_status, exit_code = "engine_error", 502, 8


class EngineCrashed(EngineError):
    """The engine's process ended while it worked (or before); it is started again for the next request."""

    code = "engine_crashed"


class EngineOutOfMemory(EngineError):
    """The engine was refused memory or killed for it."""

    code, http_status = "engine_out_of_memory", 503


class EngineTimeout(EngineError):
    """The engine did not respond for longer than the stated time."""

    code, http_status = "engine_timeout", 504


# Files and models.


class CorruptData(HomefireError):
    """Bytes on disk are not those that were written: noticed before use."""

    code, http_status, exit_code = "corrupt_data", 500, 9


class BadModel(HomefireError):
    """A model's folder or file is broken, incomplete, of a kind that cannot be served, or made to do harm."""

    code, http_status, exit_code = "bad_model", 422, 10


class UnsafeModel(BadModel):
    """A model comes as pickle or asks to run code: refused."""

    code = "unsafe_model"


class NotTrainable(HomefireError):
    """This model can be served but not taught here; the message says why."""

    code, http_status, exit_code = "not_trainable", 422, 10


# The store and the home directory.


class StoreError(HomefireError):
    """The store cannot do this."""

    code, http_status, exit_code = "store_error", 503, 9


class StoreFull(StoreError):
    """The disk is full: writes pause, nothing acknowledged is lost, reads still work."""

    code, http_status = "disk_full", 507


class StoreReadOnly(StoreError):
    """The home directory cannot be written to."""

    code = "read_only"


class StoreUnreachable(StoreError):
    """The database's server does not answer. What was asked is not recorded; Homefire connects again by itself."""

    code = "store_unreachable"


class StorePoisoned(StoreError):
    """A flush failed: what it covered may not be on disk, so the store stopped. Restart to recover."""

    code = "store_poisoned"


class StoreFenced(StoreError):
    """Another process took over this home; this one may not commit any more."""

    code = "store_fenced"


class HomeInUse(StoreError):
    """A second server on one home; `details["pid"]` names the first."""

    code, exit_code = "home_in_use", 11


class PortTaken(HomefireError):
    """The address to listen on is in use; the message says by whom where that can be known."""

    code, exit_code = "port_taken", 12


class ServerUnreachable(HomefireError):
    """The command line found no running server."""

    code, http_status, exit_code = "server_unreachable", 503, 13


class ConfigError(HomefireError):
    """A setting is unknown, of a wrong type or contradicts another; `details["key"]` names it."""

    code, exit_code = "config_error", 3


class PromiseBroken(HomefireError):
    """A check of our own promises failed (`demo`, `doctor`, `versions verify`)."""

    code, exit_code = "promise_broken", 20
