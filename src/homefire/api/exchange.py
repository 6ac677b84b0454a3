"""One request and its response, as an endpoint sees them.

The guard makes it: the headers are checked, the principal is known and the body is read before an endpoint gets
it. Whatever an endpoint does with it, the response carries a request id, and it is known how far it came, so that
a failure is answered (not begun), delivered in the stream (streaming), or ends the connection (anything else).
"""

from __future__ import annotations

import asyncio
from typing import Any

from homefire.api.asgi import Headers, Message, Receive, Scope, Send
from homefire.api.failures import Dialect, Redact, error_bytes, error_headers, stream_error, to_homefire_error
from homefire.api.policy import HeaderMap
from homefire.chat.request import Principal

ABORT = "homefire.abort"
"""The extension by which our connection lets itself be cut off, unsent bytes and all."""
LAST_WORD_S = 1.0
"""How long an error may wait for a client that does not read."""


class Exchange:
    """A request and its response. `status` is what was sent, or would have been."""

    __slots__ = (
        "_always", "_is_body_given", "_is_stream", "_receive", "_send", "body", "deadline", "dialect", "headers",
        "is_begun", "is_complete", "is_head", "principal", "request_id", "route", "scope", "status",
    )  # fmt: skip

    def __init__(self, scope: Scope, receive: Receive, send: Send, *, request_id: str) -> None:
        self.scope, self._receive, self._send = scope, receive, send
        self.headers: HeaderMap = dict(scope["headers"])
        self.request_id = request_id
        encoded_id = request_id.encode()
        self._always: Headers = [(b"request-id", encoded_id), (b"x-request-id", encoded_id)]
        self.is_head: bool = scope["method"] == "HEAD"
        self.is_begun = self.is_complete = self._is_stream = self._is_body_given = False
        self.status = 0
        self.body = b""
        self.route = "refused"
        self.dialect: Dialect = "native"
        self.principal: Principal
        self.deadline: asyncio.Timeout

    def lift_deadline(self) -> None:
        """For what has no end of its own, or must not be left half done.

        A client that reads nothing is still cut off, by its connection.
        """
        self.deadline.reschedule(None)

    async def send(self, message: Message) -> None:
        """ASGI's `send` for applications that speak it."""
        if message["type"] == "http.response.start":
            self.is_begun = True
            self.status = message["status"]
            message["headers"] = [*message.get("headers", ()), *self._always]
        elif not message.get("more_body", False):
            self.is_complete = True
        await self._send(message)

    async def receive(self) -> Message:
        """ASGI's `receive` for applications that speak it: the body once, then what the connection says."""
        if self._is_body_given:
            return await self._receive()
        self._is_body_given = True
        return {"type": "http.request", "body": self.body, "more_body": False}

    async def respond(self, status: int, headers: Headers, body: bytes) -> None:
        """The whole response at once."""
        self.is_begun = self.is_complete = True
        self.status = status
        headers = [*headers, (b"content-length", str(len(body)).encode()), *self._always]
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        await self._send(
            {"type": "http.response.body", "body": b"" if self.is_head else body, "more_body": False}
        )

    async def begin_stream(self, headers: Headers) -> None:
        """A response of pieces: `write` them, the last one as such."""
        self.is_begun = self._is_stream = True
        self.status = 200
        headers = [*headers, (b"cache-control", b"no-store"), *self._always]
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})

    async def write(self, data: bytes, *, last: bool = False) -> None:
        """A piece of a stream."""
        self.is_complete = last
        await self._send({"type": "http.response.body", "body": data, "more_body": not last})

    async def fail(self, error: BaseException, *, redact: Redact) -> None:
        """Tell the client, in the dialect's form, as far as it can still be told."""
        known = to_homefire_error(error, request_id=self.request_id)
        self.status = known.http_status
        try:
            async with asyncio.timeout(LAST_WORD_S):
                if not self.is_begun:
                    body = error_bytes(known, self.dialect, redact=redact)
                    await self.respond(known.http_status, error_headers(known), body)
                elif self._is_stream and not self.is_complete:
                    await self.write(stream_error(known, self.dialect, redact=redact), last=True)
                elif not self.is_complete:
                    self.abort()
        except TimeoutError:
            self.abort()

    def abort(self) -> None:
        """Close the connection without waiting for the client to take what it was sent."""
        abort: Any = self.scope.get("extensions", {}).get(ABORT)
        if abort is not None:
            abort["abort"]()
