"""uvicorn's connection, with limits on the head of a request and on a client that does not read its answer.

A client that opens connections and sends a byte now and then would otherwise hold them forever, one header
without an end would fill the memory, and one that reads nothing would hold its turn and the engine's slot. A
request for another server (`GET http://…`, `CONNECT`) is refused. Costs one timer per request (2 µs).
"""

from __future__ import annotations

import asyncio
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from homefire.api.exchange import ABORT

MAX_HEAD_S = 20.0
MAX_HEAD_BYTES = 64 * 1024
MAX_UNREAD_S = 30.0
MIN_READ_BYTES = 16 * 1024
"""What a client must take in that time while more waits for it: 0.5 KiB a second, slower than any line."""


class Connection(HttpToolsProtocol):
    """One client. The head (request line and headers) must be whole within both limits, the answer be read."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._head_timer: asyncio.TimerHandle | None = None
        self._num_head_bytes = 0
        self._unread_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A new client: its first request must begin and have a head in time."""
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        self._head_is_whole()
        self._is_read()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what belongs to a head that is not whole yet."""
        super().data_received(data)
        if self._head_timer is not None:
            self._num_head_bytes += len(data)
            if self._num_head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
                self.send_400_response("The head of the request is too large.")

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        super().on_message_begin()
        self.scope["extensions"] = {ABORT: {"abort": self.transport.abort}}
        self._await_head()

    def on_headers_complete(self) -> None:
        """The head is whole; how long the body may take is the application's business."""
        self._head_is_whole()
        if not self.url.startswith(b"/") and self.url != b"*":
            # Which host is meant would then be said in two places, and not everybody reads the same one.
            raise httptools.HttpParserError("the target of the request is not a path")
        super().on_headers_complete()

    def pause_writing(self) -> None:
        """The client does not read as fast as it is sent to."""
        super().pause_writing()
        if self._unread_timer is None:
            self._await_reading()

    def resume_writing(self) -> None:
        """The client has read most of it."""
        super().resume_writing()
        self._is_read()

    def timeout_keep_alive_handler(self) -> None:
        """Nothing new was asked for. Closing waits for what is unread, so a client that left some is cut off."""
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        super().timeout_keep_alive_handler()

    def _await_head(self) -> None:
        if self._head_timer is None:
            self._num_head_bytes = 0
            self._head_timer = self.loop.call_later(MAX_HEAD_S, self._give_up)

    def _head_is_whole(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _await_reading(self) -> None:
        waiting = self.transport.get_write_buffer_size()
        self._unread_timer = self.loop.call_later(MAX_UNREAD_S, self._check_reading, waiting)

    def _check_reading(self, num_bytes_before: int) -> None:
        if num_bytes_before - self.transport.get_write_buffer_size() < MIN_READ_BYTES:
            self.transport.abort()
        else:
            self._await_reading()

    def _is_read(self) -> None:
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._unread_timer = None

    def _give_up(self) -> None:
        self._head_timer = None
        if not self.transport.is_closing():
            self.transport.close()
