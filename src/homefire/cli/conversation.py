"""The state of a conversation in the terminal: which session, which model, what was answered last.

Both `ask` and `chat` speak through it. Nothing is kept here that the server does not hold durably: the
session id alone continues a conversation tomorrow.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from homefire.cli.client import Client
from homefire.cli.format import counted
from homefire.errors import Conflict


@dataclass(frozen=True, slots=True)
class Answer:
    """One finished answer."""

    turn_id: str
    session_id: str
    text: str
    served_model: str
    route_reason: str
    stop_reason: str
    usage: dict[str, Any]
    timings: dict[str, Any]
    num_trimmed_messages: int

    @property
    def tokens_per_s(self) -> float | None:
        """Decoding speed as the engine measured it; None where it was too short to tell."""
        decode_ms = float(self.timings.get("decode_ms") or 0.0)
        num_tokens = int(self.usage.get("completion_tokens") or 0)
        return num_tokens / decode_ms * 1000 if decode_ms > 0 and num_tokens > 1 else None

    def summary(self) -> str:
        """`v001 · 412 tok/s · 23 tokens`: who answered, how fast, how much."""
        parts = [self.served_model]
        if self.tokens_per_s is not None:
            parts.append(f"{self.tokens_per_s:,.0f} tok/s")
        num_tokens = self.usage.get("completion_tokens")
        if num_tokens is not None:
            parts.append(counted(int(num_tokens), "token"))
        if self.stop_reason == "length":
            parts.append("cut off by the token limit")
        if self.num_trimmed_messages:
            num = self.num_trimmed_messages
            left_out = "message did not fit and was" if num == 1 else f"{num:,} messages did not fit and were"
            parts.append(f"the oldest {left_out} left out")
        return " · ".join(parts)


@dataclass
class Conversation:
    """Turns with one server in one session."""

    client: Client
    model: str | None = None
    session_id: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    """Further fields of every request (`max_tokens`, `temperature`, `json_schema`)."""
    last: Answer | None = None

    def say(self, message: str, *, show: Callable[[str], None] | None = None) -> Answer:
        """Take one turn; `show` gets each piece of text as it comes. Errors are the server's, typed."""
        return self._take({"message": message}, show)

    def regenerate(self, *, show: Callable[[str], None] | None = None) -> Answer:
        """Answer the last message again, beside the answer it has."""
        if self.last is None:
            raise Conflict("There is no answer yet that could be given again.", hint="Say something first.")
        return self._take({"replaces_turn_id": self.last.turn_id}, show)

    def request(self, body: dict[str, Any]) -> dict[str, Any]:
        """The request body of a turn: what is set here, and `body`."""
        fixed = {"model": self.model, "session_id": self.session_id, "channel": "cli", **self.settings}
        return {name: value for name, value in {**fixed, **body}.items() if value is not None}

    def _take(self, body: dict[str, Any], show: Callable[[str], None] | None) -> Answer:
        started: dict[str, Any] = {}
        with closing(self.client.events("/v1/chat", self.request({**body, "stream": True}))) as events:
            for name, data in events:
                if name == "started":
                    started = data
                    self.session_id = str(data["session_id"])
                elif name == "delta" and show is not None:
                    show(str(data.get("text", "")))
                elif name == "ended":
                    self.last = _answer(started, data)
                    return self.last
        raise Conflict("The server ended the answer without saying how.", hint="Repeat the question.")


def _answer(started: dict[str, Any], ended: dict[str, Any]) -> Answer:
    return Answer(
        turn_id=str(ended["turn_id"]),
        session_id=str(started.get("session_id", "")),
        text=str(ended["text"]),
        served_model=str(started.get("served_model", "")),
        route_reason=str(started.get("route_reason", "")),
        stop_reason=str(ended.get("stop_reason", "stop")),
        usage=dict(ended.get("usage") or {}),
        timings=dict(ended.get("timings") or {}),
        num_trimmed_messages=int(ended.get("num_trimmed_messages") or 0),
    )
