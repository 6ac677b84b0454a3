"""What the routes share: the running Homefire, and what belongs to HTTP alone."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from homefire.api.documents import OpenApiTypes
from homefire.api.metrics import Metrics
from homefire.app import Homefire
from homefire.store.api_keys import KeyRing


@dataclass(frozen=True)
class Context:
    """One for each application."""

    homefire: Homefire
    metrics: Metrics
    keys: KeyRing
    described: OpenApiTypes = field(default_factory=OpenApiTypes)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the server drains: streams that have no end of their own end then."""
