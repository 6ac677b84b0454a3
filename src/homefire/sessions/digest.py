"""A conversation's digest: a chain over its messages, rooted in the principal it belongs to.

Two conversations have equal digests only if the same principal said and heard exactly the same in every part,
system messages, tool calls, results and attachments included; so a client that keeps the history itself (as
OpenAI's and Ollama's do) is recognised by what it sends, and never as another principal. What is hashed has a
version, which the root states: chains of two versions never meet. About two microseconds per short message.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256

import msgspec

from homefire.types import Message

VERSION = 2
"""1 covered role and text alone."""
_encoder = msgspec.json.Encoder(order="deterministic")


def root(principal: str) -> str:
    """The digest of a conversation without messages (64 hex digits)."""
    return sha256(f"conversation {VERSION}\0{principal}".encode()).hexdigest()


def chain(parent: str, message: Message) -> str:
    """The digest after one more message. Unambiguous: `parent` has a fixed length, and JSON is what it is.

    The order of the keys of a tool call's arguments does not count.
    """
    return sha256(parent.encode() + _encoder.encode((message.role, message.content))).hexdigest()


def chain_all(parent: str, messages: Iterable[Message]) -> list[str]:
    """The digest after each of `messages`, in order."""
    digests = []
    for message in messages:
        parent = chain(parent, message)
        digests.append(parent)
    return digests
