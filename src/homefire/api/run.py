"""Listening: one socket, uvicorn on uvloop and httptools, and an end that lets running answers finish.

On SIGTERM or SIGINT nothing new is accepted, streams without an end are ended, and answers may finish within
`server.drain_timeout_s`; then they are cancelled. A second SIGINT ends at once. A port that is taken is an
error that names who has it. Nothing is logged for a request: `/metrics` counts them.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import ipaddress
import math
import signal
import socket
import threading
from collections.abc import Callable, Iterator

import uvicorn

from homefire.api.connection import Connection
from homefire.api.guard import HomefireApp
from homefire.api.policy import check_exposure
from homefire.errors import ConfigError, PortTaken
from homefire.machine.ports import describe_listener

BACKLOG = 1024
KEEP_ALIVE_S = 30
YOUNG_OBJECTS = 10_000
"""More of these than were freed again start a collection: a millisecond, once in hundreds of requests. Python's own
700 are reached within a few, and each collection also visits all that a large request holds at that moment."""


class Server(uvicorn.Server):
    """uvicorn that drains the way this module says and leaves the exit code to its caller."""

    def __init__(self, config: uvicorn.Config, app: HomefireApp, *, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._app, self._on_ready = app, on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer, then say so."""
        await super().startup(sockets)
        if self.started:
            self._app.prepare()
            self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop accepting, end endless streams, wait for answers, cancel the rest."""
        self._app.state.context.stopping.set()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """SIGTERM and SIGINT drain; unlike uvicorn's own, they are not raised again afterwards."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        handled = (signal.SIGTERM, signal.SIGINT)
        for number in handled:
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in handled:
                loop.remove_signal_handler(number)


def bind(host: str, port: int) -> socket.socket:
    """A listening socket; PortTaken says by whom, ConfigError where the address is not this machine's."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            holder = describe_listener(port) or "another process"
            raise PortTaken(
                f"Port {port} on {host} is taken by {holder}.",
                hint="End it, or choose another port (`homefire up --port`, server.port).",
                port=port,
                holder=holder,
            ) from None
        raise ConfigError(
            f"Cannot listen on {host}:{port}: {error.strerror or error}.",
            hint="server.host must be an address of this machine, and ports below 1024 need privileges.",
            key="server.host",
        ) from None
    return listener


def open_listener(app: HomefireApp) -> socket.socket:
    """Take the address the settings name. Raises ConfigError, PortTaken: before anything else begins."""
    homefire = app.state.context.homefire
    settings = homefire.loaded.settings.server
    num_keys = sum(row.revoked_at_s is None for row in homefire.store.keys.list())
    check_exposure(settings.host, num_keys=num_keys)
    return bind(settings.host, settings.port)


async def serve(
    app: HomefireApp, listener: socket.socket, *, on_ready: Callable[[str], None] = lambda url: None
) -> None:
    """Answer on `listener` until a signal ends it.

    `on_ready` gets the address at the first moment it answers. The parts behind `app` are started and
    stopped by the caller.
    """
    settings = app.state.context.homefire.loaded.settings.server
    url = address_url(settings.host, listener.getsockname()[1])
    config = uvicorn_config(app, drain_timeout_s=settings.drain_timeout_s)

    def is_ready() -> None:
        spare_collections()
        on_ready(url)

    await Server(config, app, on_ready=is_ready).serve(sockets=[listener])


def spare_collections() -> None:
    """Let garbage collections be short and few: each holds the event loop.

    What was imported stays, and visiting all of it takes 100 ms; what requests leave in cycles is little.
    """
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, *gc.get_threshold()[1:])


def uvicorn_config(app: HomefireApp, *, drain_timeout_s: float) -> uvicorn.Config:
    """How uvicorn serves the application."""
    return uvicorn.Config(
        app,
        http=Connection,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=math.ceil(drain_timeout_s),
    )


def address_url(host: str, port: int) -> str:
    """Where a browser on this machine finds the server."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return f"http://{host}:{port}"
    if address.is_unspecified:
        return f"http://127.0.0.1:{port}"
    return f"http://[{host}]:{port}" if address.version == 6 else f"http://{host}:{port}"
