"""Names that commands take: how each is declared, completed by the shell, and understood.

A run or a session may be named by the beginning of its id, with or without `run_` or `ses_`, as long as that is
unique. `live` means the live version wherever a version or a model is named.

A completion must never disturb the line that is being typed: with no server, or a slow one, there is nothing to
offer, silently and within a second.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any
from urllib.parse import quote

import typer

from homefire.cli.command import Call, Shared
from homefire.errors import InvalidRequest, NotFound

LIVE = "live"
_TIMEOUT_S = 1.0
_MAX_LISTED = 1000
_MAX_SHOWN = 5
_WHOLE_ID = re.compile(r"[a-z]+_[0-9a-f]{28}")
_UNSUITED = re.compile(r"[^\w .,:;?+-]+")
"""What a shell might act on: session titles are other people's words."""


def complete_model(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Models, versions and aliases."""
    return _names(context, incomplete, "/v1/homefire/models", "models", ("name", "kind"))


def complete_version(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Versions, and what is live."""
    found = _names(context, incomplete, "/v1/versions", "versions", ("version", "description"))
    return [*found, *([(LIVE, "what answers now")] if found and LIVE.startswith(incomplete) else [])]


def complete_run(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Runs."""
    return _names(context, incomplete, "/v1/runs", "runs", ("run_id", "state"))


def complete_session(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Sessions."""
    return _names(context, incomplete, "/v1/sessions", "sessions", ("session_id", "title"))


def _argument(metavar: str, about: str, complete: Callable[..., list[tuple[str, str]]]) -> Any:
    return typer.Argument(metavar=metavar, help=about, autocompletion=complete)


ModelName = Annotated[str, _argument("MODEL", "A model's name.", complete_model)]
AnyModelName = Annotated[str | None, _argument("[MODEL]", "One model; all without one.", complete_model)]
VersionName = Annotated[str, _argument("VERSION", "Such as v001, or live.", complete_version)]
AnyVersionName = Annotated[
    str | None, _argument("[VERSION]", "Such as v001, or live; all without one.", complete_version)
]
RunName = Annotated[str, _argument("RUN", "The run's id, or how it begins.", complete_run)]
SessionName = Annotated[str, _argument("SESSION", "The session's id, or how it begins.", complete_session)]
ModelOption = Annotated[
    str | None,
    typer.Option("--model", "-m", help="Model, version or alias.", autocompletion=complete_model),
]
SessionOption = Annotated[
    str | None,
    typer.Option("--session", "-s", help="Continue this session.", autocompletion=complete_session),
]
Why = Annotated[str | None, typer.Option("--why", help="A reason to record.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Limit = Annotated[int, typer.Option("--limit", min=1, max=_MAX_LISTED, help="At most so many, newest first.")]


def run_id(call: Call, given: str) -> str:
    """The whole id of the run that `given` begins. InvalidRequest where several do."""
    return _whole_id(call, given, "/v1/runs", "runs", "run_id")


def session_id(call: Call, given: str) -> str:
    """The whole id of the session that `given` begins. InvalidRequest where several do."""
    return _whole_id(call, given, "/v1/sessions", "sessions", "session_id")


def version_or_base(call: Call, given: str) -> str:
    """What `given` names: for `live` the version or base that is live, else itself."""
    return str(call.client.get("/v1/versions")["live"]) if given == LIVE else given


def version_name(call: Call, given: str) -> str:
    """As `version_or_base`, where only a version will do: NotFound while a base is live."""
    if given != LIVE:
        return given
    found = call.client.get("/v1/versions")
    live = str(found["live"])
    if live not in {str(row["version"]) for row in found["versions"]}:
        raise NotFound(
            f"What is live is {live}, which is not a version that training made.",
            hint=f"`homefire models show {live}` and `homefire models verify {live}` say more about it.",
            live=live,
        )
    return live


def _whole_id(call: Call, given: str, path: str, key: str, column: str) -> str:
    """An id that nothing listed begins with is left to the server, which knows more than it lists."""
    if _WHOLE_ID.fullmatch(given) or not given:
        return given
    ids = [str(row[column]) for row in call.client.get(path, limit=_MAX_LISTED)[key]]
    if given in ids:
        return given
    found = [one for one in ids if one.startswith(given) or one.partition("_")[2].startswith(given)]
    if len(found) > 1:
        shown = ", ".join(found[:_MAX_SHOWN])
        more = f" and {len(found) - _MAX_SHOWN:,} more" if len(found) > _MAX_SHOWN else ""
        raise InvalidRequest(
            f"“{given}” is the beginning of {len(found):,} ids: {shown}{more}.",
            hint="Give more of the id.",
        )
    return found[0] if found else given


def _names(
    context: typer.Context, incomplete: str, path: str, key: str, columns: tuple[str, str]
) -> list[tuple[str, str]]:
    from homefire.cli.address import find_server
    from homefire.cli.client import Client
    from homefire.errors import HomefireError

    shared = _shared(context)
    name, about = columns
    try:
        address = find_server(home=shared.home, url=shared.url, key=shared.key)
        with Client(address, timeout_s=_TIMEOUT_S) as client:
            found = [(str(row[name]), str(row.get(about) or "")) for row in client.get(path)[key]]
    except (HomefireError, KeyError, TypeError):
        return []
    return [(one, _UNSUITED.sub(" ", text)[:60].strip()) for one, text in found if one.startswith(incomplete)]


def _shared(context: typer.Context) -> Shared:
    """The options typed so far: while a line is completed no command has run that could have kept them."""
    found = Shared()
    here: Any = context
    while here is not None:
        given = here.params
        found = found.over(
            Shared(
                home=given.get("home_") or given.get("home"),
                url=given.get("url_") or given.get("url"),
                key=given.get("key_") or given.get("key"),
            )
        )
        here = here.parent
    return found


def path_of(base: str, *names: str) -> str:
    """`("/v1/runs", "run_1", "events")` → `/v1/runs/run_1/events`: each name stays one segment of the path.

    InvalidRequest for a name that no quoting keeps in its place: servers decode `%2F` before they look.
    """
    for name in names:
        if name in ("", ".", "..") or "/" in name:
            raise InvalidRequest(
                f"“{name}” is not a name.", hint="The group's `list` command shows the names."
            )
    try:
        return "/".join((base, *(quote(name, safe="") for name in names)))
    except UnicodeError as error:
        raise InvalidRequest("The name is not valid UTF-8 text.") from error
