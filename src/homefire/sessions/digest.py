"""A conversation's digest: a chain over its messages, rooted in the principal it belongs to.

Two conversations have equal digests only if the same principal said and heard exactly the same, system
messages included; so a client that keeps the history itself (as OpenAI's and Ollama's do) is recognised by
what it sends, and never as somebody else. About a microsecond per short message.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256

from homefire.types import Message


def root(principal: str) -> str:
    """The digest of a conversation without messages (64 hex digits)."""
    return sha256(principal.encode()).hexdigest()


def chain(parent: str, role: str, content: str) -> str:
    """The digest after one more message. Unambiguous: `parent` has a fixed length, a role holds no NUL."""
    return sha256(f"{parent}{role}\0{content}".encode()).hexdigest()


def chain_all(parent: str, messages: Iterable[Message]) -> list[str]:
    """The digest after each of `messages`, in order."""
    digests = []
    for message in messages:
        parent = chain(parent, message.role, message.content)
        digests.append(parent)
    return digests
