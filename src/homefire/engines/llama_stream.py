"""One answer of llama.cpp as it comes: the library's callbacks in, pieces and a finish out.

A character made of several tokens carries the log-probability of its last token: the library gives no other.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from homefire.engines.base import Delta, EngineRequest, Finish, TokenLogprob
from homefire.engines.json_grammar import SchemaMatcher
from homefire.engines.stopping import Passed, StopFilter
from homefire.errors import EngineError, HomefireError
from homefire.types import StopReason, Timings, Usage

Emit = Callable[[Delta | None], None]
"""Takes each new piece of an answer; None is a sign of life while a long prompt is read."""
Refusal = Callable[[Mapping[str, Any], int | None], HomefireError]
"""`(what the library complained of, max_tokens)` as a typed error."""


@dataclass(slots=True)
class Job:
    """One generation under way. `cancelled` may be set from any thread."""

    request: EngineRequest
    received_s: float
    cancelled: threading.Event


class Stream:
    """Turns the library's callbacks for one request into pieces and a finish.

    The callback must not raise: the bindings would continue as if nothing had happened.
    """

    def __init__(
        self,
        job: Job,
        emit: Emit,
        *,
        num_logprobs: int | None,
        context_length: int,
        schema: SchemaMatcher | None = None,
    ) -> None:
        self.job, self.emit, self.num_logprobs, self.schema = job, emit, num_logprobs, schema
        self.context_length = context_length
        self.filter = StopFilter([stop for stop in job.request.sampling.stop if stop])
        self.timings: Mapping[str, Any] = {}
        self.reason: StopReason | None = None
        self.stop_string: str | None = None
        self.library_error: Mapping[str, Any] | None = None
        self.failure: BaseException | None = None
        self.first_token_ms: float | None = None

    def take(self, chunk: dict[str, Any]) -> bool:
        """The callback: True ends the generation."""
        try:
            return self._take(chunk)
        except BaseException as error:  # noqa: BLE001 - raised again by `finish`, outside of native code
            self.failure = error
            return True

    def _take(self, chunk: dict[str, Any]) -> bool:
        if "error" in chunk:
            self.library_error = chunk["error"]
            return True
        self.timings = chunk.get("timings", self.timings)
        if self.job.cancelled.is_set():
            self.reason = "cancelled"
            return True
        choice = chunk["choices"][0]
        if choice["text"]:
            if self.schema is not None:
                self.schema.push(choice["text"])
            self._show(self.filter.push(choice["text"], self._logprobs(choice)))
            if self.reason is not None:
                return True
        elif "prompt_progress" in chunk:
            self.emit(None)
        if choice["finish_reason"] is not None:
            self.reason = "length" if choice["finish_reason"] == "length" else "stop"
            if self.schema is not None and self.reason == "stop":
                self.schema.end()
            self._show(self.filter.flush())
        return False

    def _show(self, passed: Passed) -> None:
        if passed.text or passed.logprobs:
            if self.first_token_ms is None:
                self.first_token_ms = (time.monotonic() - self.job.received_s) * 1000
            self.emit(Delta(passed.text, passed.logprobs))
        if passed.stop_string is not None:
            self.reason, self.stop_string = "stop", passed.stop_string

    def _logprobs(self, choice: Mapping[str, Any]) -> tuple[TokenLogprob, ...]:
        if self.num_logprobs is None or not choice.get("logprobs"):
            return ()
        return tuple(
            TokenLogprob(
                entry["token"],
                entry["logprob"],
                tuple(
                    (rival["token"], rival["logprob"]) for rival in entry["top_logprobs"][: self.num_logprobs]
                ),
            )
            for entry in choice["logprobs"]["content"]
        )

    def _is_full(self, usage: Usage) -> bool:
        """Whether the context ended the answer, rather than `max_tokens`."""
        max_tokens = self.job.request.sampling.max_tokens
        wanted_more = max_tokens is None or usage.completion_tokens < max_tokens
        return wanted_more and usage.prompt_tokens + usage.completion_tokens >= self.context_length

    def finish(self, refusal: Refusal) -> Finish:
        """The end of the answer; `refusal` makes an error of what the library complained of."""
        if self.failure is not None:
            raise self.failure
        if self.library_error is not None:
            raise refusal(self.library_error, self.job.request.sampling.max_tokens)
        if self.reason is None:
            raise EngineError("llama.cpp ended an answer without saying why.")
        timings = self.timings
        cached = int(timings.get("cache_n", 0))
        usage = Usage(
            prompt_tokens=cached + int(timings.get("prompt_n", 0)),
            completion_tokens=int(timings.get("predicted_n", 0)),
            cached_tokens=cached,
        )
        return Finish(
            stop_reason="context" if self.reason == "length" and self._is_full(usage) else self.reason,
            stop_string=self.stop_string,
            usage=usage,
            timings=Timings(
                prompt_ms=float(timings.get("prompt_ms", 0.0)),
                decode_ms=float(timings.get("predicted_ms", 0.0)),
                first_token_ms=self.first_token_ms or 0.0,
            ),
        )
