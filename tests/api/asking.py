"""A client at the ASGI interface that can leave, wait, and say what it got: what an HTTP library hides."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

from tests.api.house import LOCAL, House


class Asker:
    """One request of a client that stays until `leave` is set."""

    def __init__(
        self,
        path: str,
        document: Any = None,
        *,
        method: str = "POST",
        headers: Mapping[str, str] | None = None,
        peer: tuple[str, int] = LOCAL,
    ) -> None:
        self.leave = asyncio.Event()
        self.sent: list[Any] = []
        self._news = asyncio.Event()
        self._body: bytes | None = b"" if document is None else json.dumps(document).encode()
        wanted = {"host": "localhost", "content-type": "application/json", **(headers or {})}
        self.scope = {
            "type": "http", "http_version": "1.1", "method": method, "scheme": "http", "path": path,
            "raw_path": path.encode(), "query_string": b"", "root_path": "", "client": peer,
            "server": ("localhost", 8765), "state": {},
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in wanted.items()],
        }  # fmt: skip

    async def receive(self) -> dict[str, Any]:
        """The body at once, the disconnect when it leaves."""
        if self._body is not None:
            message, self._body = {"type": "http.request", "body": self._body, "more_body": False}, None
            return message
        await self.leave.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        """Take what comes."""
        self.sent.append(message)
        self._news.set()

    async def got(self, condition: Callable[[], bool]) -> None:
        """Wait until what came fulfils this."""
        while not condition():
            self._news.clear()
            await self._news.wait()

    def ask(self, house: House) -> asyncio.Task[None]:
        """Begin; the task ends with the exchange."""
        return asyncio.create_task(house.app(self.scope, self.receive, self.send))  # type: ignore[arg-type]

    @property
    def status(self) -> int | None:
        """The status that came, if any."""
        return self.sent[0]["status"] if self.sent else None

    @property
    def text(self) -> str:
        """The body as far as it came."""
        return b"".join(message.get("body", b"") for message in self.sent).decode()

    @property
    def is_whole(self) -> bool:
        """Whether the response has its end."""
        return bool(self.sent) and not self.sent[-1].get("more_body", True)


async def until(condition: Callable[[], Any], *, turns: int = 100_000) -> None:
    """Let others work until this holds."""
    for _ in range(turns):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came to that")
