"""A session's key, computed from a scope: which turns share one conversation.

The scope decides what the key is made of, and so what can meet in it. Parts are percent-encoded, so that no
name can imitate another's key; a part that a scope needs and that is empty is refused, never defaulted.
"""

from __future__ import annotations

from typing import Literal
from urllib.parse import quote

Scope = Literal["main", "per-principal", "per-conversation"]


def session_key(scope: Scope, *, principal: str, conversation: str | None = None) -> str:
    """The key of the session that a message belongs to.

    `main`: one conversation for the whole home. `per-principal`: one for each who asks. `per-conversation`:
    one for each conversation of each who asks. Raises ValueError where a needed part is missing or empty.
    """
    match scope:
        case "main":
            return "main"
        case "per-principal":
            return f"principal/{_part('principal', principal)}"
        case "per-conversation":
            conversation_part = _part("conversation", conversation)
            return f"principal/{_part('principal', principal)}/conversation/{conversation_part}"


def _part(name: str, value: str | None) -> str:
    if not value:
        raise ValueError(f"A session key of this scope needs a {name}; it was empty.")
    return quote(value, safe="")
