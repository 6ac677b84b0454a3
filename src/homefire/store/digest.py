"""A conversation's digest: a chain over its messages, rooted in the principal it belongs to.

Two conversations have equal digests only if the same principal said and heard exactly the same in every part,
system messages, tool calls, results and attachments included; so a client that keeps the history itself (as
OpenAI's and Ollama's do) is recognised by what it sends, and never as another principal. What is hashed has a
version, which the root states: chains of two versions never meet. About a microsecond per short message.

A digest is derived from content and is never part of an event: whoever knows the digests around an erased message
could guess a short text. The fold makes them, and leaves out that of an erased message and of all that follow it.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256

import msgspec

from homefire.types import Message

VERSION = 3
"""1 covered role and text alone, 2 was twice as long."""
NUM_BYTES = 16
encode = msgspec.json.Encoder(order="deterministic").encode
"""One form for one content: the order of the keys of a tool call's arguments does not count."""


def root(principal: str) -> bytes:
    """The digest (16 bytes) of a conversation without messages."""
    return sha256(f"conversation {VERSION}\0{principal}".encode()).digest()[:NUM_BYTES]


def link(parent: bytes, role: str, content_json: bytes) -> bytes:
    """The digest after one more message, whose content is in the form of `encode`. Unambiguous: `parent` has a
    fixed length, and JSON is what it is."""
    return sha256(b'%b["%b",%b]' % (parent, role.encode(), content_json)).digest()[:NUM_BYTES]


def chain(parent: bytes, message: Message) -> bytes:
    """The digest after one more message."""
    return link(parent, message.role, encode(message.content))


def chain_all(parent: bytes, messages: Iterable[Message]) -> list[bytes]:
    """The digest after each of `messages`, in order."""
    digests = []
    for message in messages:
        parent = chain(parent, message)
        digests.append(parent)
    return digests
