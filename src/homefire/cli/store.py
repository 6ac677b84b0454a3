"""`homefire store …`: the database of this home. Works without a server, and only without one."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from homefire.cli.command import Call, command, group
from homefire.cli.format import counted

Target = Annotated[
    str,
    typer.Argument(metavar="TO", help="postgresql://user@host/database, or sqlite: homefire.db in the home."),
]


def commands() -> typer.Typer:
    """The group `store`."""
    store = group("The database of this home.")
    command(store, "copy")(copy)
    return store


def copy(call: Call, to: Target) -> Any:
    """Copy everything recorded into another, empty database: how a home moves to PostgreSQL and back.

    The server must be stopped. What is copied from stays as it is; store.url then says which one is used.
    """
    import os

    from homefire.cli.address import home_root
    from homefire.config.loader import load_settings
    from homefire.home import Home
    from homefire.store.copy import copy_store
    from homefire.store.database import choose_database
    from homefire.world import World

    home = Home(home_root(call.shared.home, os.environ))
    settings = load_settings(home).settings.store
    source = choose_database(home, settings)
    url = None if to == "sqlite" else to
    target = choose_database(home, settings.model_copy(update={"url": url}))
    num_events = copy_store(home, source, target, World())
    call.out.line(
        f"Copied {counted(num_events, 'event')} from {source.where} to {target.where}; the chain holds."
    )
    call.out.note(
        "To use it, remove url from [store] in homefire.toml."
        if url is None
        else f'To use it, write into homefire.toml, under [store]: url = "{url}"'
    )
    return {"num_events": num_events, "from": source.where, "to": target.where}
