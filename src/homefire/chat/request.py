"""The one internal request. Front doors decode their dialect into it and encode `TurnEvent`s out of it."""

from __future__ import annotations

from typing import Literal

import msgspec

from homefire.engines.base import Delta
from homefire.types import Message, Sampling, StopReason, Timings, Usage

Overflow = Literal["refuse", "trim"]


class Principal(msgspec.Struct, frozen=True):
    """Who asks: a key's id, or `local` for loopback without a key. Sessions never cross it."""

    id: str = "local"


class ChatRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One turn to take.

    With `session_id` the stored conversation is put before `messages` (which are then only what is new).
    Without it the client sent the whole conversation: it is continued where an earlier turn of the same
    principal ended with exactly these messages, and opens a session otherwise.
    """

    messages: tuple[Message, ...]
    model: str = "default"
    principal: Principal = Principal()
    channel: str = "api"
    """Where it came from: openai, ollama, anthropic, native, web, cli."""
    session_id: str | None = None
    sampling: Sampling = Sampling()
    overflow: Overflow | None = None
    """What to do when the prompt does not fit; None: the setting `chat.overflow`."""
    prompt: str | None = None
    """A raw prompt that bypasses the chat template (then `messages` is empty)."""
    on_disconnect: Literal["cancel", "continue"] = "cancel"
    """What the end of the one who reads the answer (`Turns.run`) means for the turn."""
    replaces_turn_id: str | None = None
    """Regenerate: answer again what this turn asked, as a sibling of its answer (if it has one)."""
    count_prompt: bool = False
    """Have Started say the prompt's tokens: one more call of the engine (it tokenizes, nothing else)."""


class Started(msgspec.Struct, frozen=True, kw_only=True):
    """First event of a turn: everything a front door needs for headers."""

    turn_id: str
    session_id: str
    model: str
    """The name that was asked for."""
    served_model: str
    """The model that answers, fully resolved (`v003`)."""
    route_reason: str
    num_trimmed_messages: int = 0
    """Oldest messages left out to fit the context: declared to the client, never silent."""
    prompt_tokens: int | None = None
    """Of the prompt as it was sent to the model; None unless the request has `count_prompt`."""


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """Last event of a turn that was answered. When it is seen, the turn is durable."""

    turn_id: str
    message_id: str
    text: str
    stop_reason: StopReason
    stop_string: str | None
    usage: Usage
    timings: Timings
    num_trimmed_messages: int = 0


class Stopped(msgspec.Struct, frozen=True, kw_only=True):
    """Last event of a turn that somebody stopped, or that the end of the server cut off. It is durable."""

    turn_id: str
    message_id: str | None
    """Of what was written; None where nothing was."""
    text: str
    outcome: Literal["cancelled", "interrupted"]


TurnEvent = Started | Delta | Ended
StreamEvent = TurnEvent | Stopped
"""What a watcher may meet; `Turns.run` makes an error of Stopped."""
