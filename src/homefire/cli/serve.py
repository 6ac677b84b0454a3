"""The server process of `homefire up`: parts together, listening, and a file that tells clients where.

`run/server.json` (`cli.address`) is written when the server answers and removed when it ends; a server that was
killed leaves it behind, and the next one replaces it. Imports the whole server, and no more.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets

import uvloop

from homefire.api.run import open_listener, serve
from homefire.api.server import create_app
from homefire.app import Homefire, build
from homefire.cli.address import SERVER_FILE, home_root
from homefire.cli.command import Call
from homefire.config.loader import load_settings
from homefire.config.logs import configure_logging
from homefire.config.secrets import load_api_key
from homefire.errors import HomefireError
from homefire.home import Home
from homefire.store.durable import write_file
from homefire.versions.promotion import LIVE
from homefire.web.routes import add_pages


def run_server(call: Call, overrides: dict[str, str]) -> None:
    """Serve until a signal ends it. Raises ConfigError, HomeInUse, PortTaken and the store's own errors."""
    # Whatever a home folder's own mode is: what is written into it is its owner's alone.
    os.umask(0o077)
    home = Home(home_root(call.shared.home, os.environ))
    loaded = load_settings(home, overrides=overrides)
    homefire = build(loaded, home)
    configure_logging(loaded.settings.logging, homefire.redactor)
    # Its lines about starting and stopping repeat what is printed here.
    uvicorn_log = logging.getLogger("uvicorn.error")
    uvicorn_log.setLevel(logging.WARNING)
    # A second Ctrl-C cancels what drains; that is what was asked for, and no error.
    uvicorn_log.addFilter(lambda record: "CancelledError" not in record.getMessage())
    uvloop.run(_serve(call, homefire))
    call.out.note("stopped")


async def _serve(call: Call, homefire: Homefire) -> None:
    app = create_app(homefire)
    add_pages(app)
    app.state.server_token = token = secrets.token_hex(32)
    server_file = homefire.home.sockets / SERVER_FILE
    # What a killed server left must not lead anyone astray while this one starts.
    server_file.unlink(missing_ok=True)

    def on_ready(url: str) -> None:
        written = json.dumps({"url": url, "pid": os.getpid(), "token": token}) + "\n"
        write_file(server_file, written.encode(), homefire.world)
        # Whoever read the output may be gone; the server is running anyway.
        with contextlib.suppress(BrokenPipeError):
            _announce(call, homefire, url)

    try:
        listener = open_listener(app)
    except HomefireError:
        homefire.store.close()
        raise
    async with homefire.running():
        try:
            await serve(app, listener, on_ready=on_ready)
        finally:
            server_file.unlink(missing_ok=True)


def _announce(call: Call, homefire: Homefire, url: str) -> None:
    live = homefire.catalog.resolve(LIVE).model.name
    key = load_api_key(homefire.home)
    origin = key.origin if key is not None else "none"
    if call.json:
        call.out.record(
            {"url": url, "pid": os.getpid(), "home": str(homefire.home.root), "live": live, "api_key": origin}
        )
        return
    width = 9
    for name, value in (
        ("Homefire", f"{url}   (open it in a browser, or run `homefire chat`)"),
        ("home", str(homefire.home.root)),
        ("live", live),
        ("API key", f"{origin} (not needed on this machine)" if _is_open(homefire) else origin),
        ("stop", "Ctrl-C"),
    ):
        call.out.line(f"{name:<{width}} {value}")


def _is_open(homefire: Homefire) -> bool:
    return homefire.loaded.settings.server.loopback_without_key
