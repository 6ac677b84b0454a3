"""A session's key: a unique name of a conversation among all principals.

Parts are percent-encoded, so that no name can imitate another's key; an empty part is refused, never defaulted.
"""

from __future__ import annotations

from urllib.parse import quote


def session_key(*, principal: str, conversation: str) -> str:
    """The key of one conversation of the one who asks. Raises ValueError for an empty part."""
    return f"principal/{_part('principal', principal)}/conversation/{_part('conversation', conversation)}"


def _part(name: str, value: str) -> str:
    if not value:
        raise ValueError(f"A session key needs a {name}; it was empty.")
    return quote(value, safe="")
