"""`homefire keys …`: who may use this server from elsewhere."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from homefire.cli.arguments import Yes, path_of
from homefire.cli.command import Call, command, group
from homefire.cli.format import Field, labels, moment, rows

KeyId = Annotated[str, typer.Argument(metavar="KEY", help="The id of a key (see `list`).")]


def _state(row: dict[str, Any]) -> str:
    if row["revoked_at_s"] is not None:
        return "revoked"
    return "of this home" if row["is_home"] else "valid"


COLUMNS = (
    Field("key", "key_id"),
    Field("name", "name"),
    Field("made", "created_at_s", moment),
    Field("state", "", _state),
)


def commands() -> typer.Typer:
    """The group `keys`."""
    keys = group("API keys: one for each device, revoked at once.")
    command(keys, "list")(show_list)
    command(keys, "create")(create)
    command(keys, "revoke")(revoke)
    return keys


def show_list(call: Call) -> Any:
    """List all keys, revoked ones too. Their secrets are not kept."""
    found = call.client.get("/v1/keys")
    call.out.table(labels(COLUMNS), rows(COLUMNS, found["keys"]), empty="There are none.")
    return found


def create(call: Call, name: Annotated[str, typer.Argument(help="What it is for: phone, laptop.")]) -> Any:
    """Make a key and print it. It is shown this once."""
    made = call.client.post("/v1/keys", {"name": name})
    call.out.line(str(made["key"]))
    call.out.note("It is not shown again. Clients send it as their API key.")
    return made


def revoke(call: Call, key: KeyId, yes: Yes = False) -> Any:
    """Revoke a key, at once and for good."""
    call.confirm(f"Revoke {key}? Whoever uses it is refused from then on.", yes=yes)
    revoked = call.client.delete(path_of("/v1/keys", key))
    call.out.line(f"{revoked['revoked']} opens nothing any more.")
    return revoked
