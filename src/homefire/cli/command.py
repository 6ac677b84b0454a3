"""How a function becomes a command: the options all commands share, and the call they make up.

    @command(app, "show")
    def show(call: Call, name: Annotated[str, typer.Argument()]) -> Any:
        found = call.client.get(path_of("/v1/things", name))
        call.out.line(found["name"])
        return found

gives `show` the options `--json`, `--home`, `--url` and `--key` (the last three are listed once, in
`homefire --help`, and accepted everywhere). What the function prints is for people and silent under `--json`;
what it returns is printed under `--json` and nowhere else. Importing this costs Typer and nothing else; the
HTTP client is made when a command first asks for it.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from homefire.cli.output import Output, printable

if TYPE_CHECKING:
    from homefire.cli.client import Client

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs instead of prose.")]
HomeOption = Annotated[
    Path | None,
    typer.Option(
        "--home", metavar="DIR", help="The home directory; without it $HOMEFIRE_HOME, then ~/.homefire."
    ),
]
UrlOption = Annotated[
    str | None,
    typer.Option("--url", metavar="URL", help="The server; without it $HOMEFIRE_URL, then the home's own."),
]
KeyOption = Annotated[
    str | None,
    typer.Option(
        "--key", metavar="KEY", help="The API key; without it $HOMEFIRE_API_KEY, then the home's own."
    ),
]


class OutputClosed(Exception):
    """Who read the output went away (`… | head`): there is nothing more to do, and nothing to say."""


@dataclass(frozen=True, slots=True)
class Shared:
    """The options every command accepts, as they were given (None: not given)."""

    home: Path | None = None
    url: str | None = None
    key: str | None = None
    json: bool = False

    def over(self, outer: Shared | None) -> Shared:
        """These options, where not given those given before the command's name."""
        if outer is None:
            return self
        return Shared(
            home=self.home or outer.home,
            url=self.url or outer.url,
            key=self.key or outer.key,
            json=self.json or outer.json,
        )


@dataclass
class Call:
    """One invocation: what was asked for, where to print, and a client when one is needed."""

    shared: Shared
    out: Output
    _client: Client | None = field(default=None, init=False, repr=False)

    @property
    def json(self) -> bool:
        """Whether to print JSON."""
        return self.shared.json

    @property
    def client(self) -> Client:
        """A client for the server these options mean; closed when the command ends."""
        if self._client is None:
            from homefire.cli.address import find_server
            from homefire.cli.client import Client

            self._client = Client(
                find_server(home=self.shared.home, url=self.shared.url, key=self.shared.key)
            )
        return self._client

    def confirm(self, question: str, *, yes: bool) -> None:
        """Go on only with `--yes` or a person's consent at a terminal.

        InvalidRequest where nobody can be asked; a person's no ends the command like Ctrl-C.
        """
        if yes:
            return
        if self.json or sys.stdin is None or not sys.stdin.isatty():
            from homefire.errors import InvalidRequest

            raise InvalidRequest(
                "This needs confirmation, and there is no terminal to ask on.",
                hint="Give --yes to confirm it.",
            )
        typer.confirm(printable(question), abort=True, err=True)

    def close(self) -> None:
        """Close what was opened."""
        if self._client is not None:
            self._client.close()


def _parameter(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _hidden(annotation: Any) -> Any:
    """The same option, accepted but not listed again under every command."""
    import copy

    base, option = annotation.__origin__, copy.copy(annotation.__metadata__[0])
    option.hidden = True
    return Annotated[base, option]


def command(
    group: typer.Typer, name: str, **settings: Any
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a function whose first parameter is a `Call` as the command `name` of `group`."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(function, eval_str=True)
        own = list(signature.parameters.values())[1:]

        @functools.wraps(function)
        def run(context: typer.Context, **given: Any) -> None:
            shared = Shared(
                home=given.pop("home_"), url=given.pop("url_"), key=given.pop("key_"), json=given.pop("json_")
            ).over(context.obj)
            call = Call(shared, Output(json=shared.json))
            try:
                document = function(call, **given)
                if call.json and document is not None:
                    call.out.document(document)
            except BrokenPipeError:
                raise OutputClosed from None
            finally:
                call.close()

        added = [
            inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context),
            *(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own),
            _parameter("json_", JsonOption, False),
            _parameter("home_", _hidden(HomeOption), None),
            _parameter("url_", _hidden(UrlOption), None),
            _parameter("key_", _hidden(KeyOption), None),
        ]
        run.__dict__["__signature__"] = signature.replace(parameters=added)
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in added}
        group.command(name, **settings)(run)
        return function

    return register


def group(help_text: str) -> typer.Typer:
    """A named group of commands (`homefire runs …`); alone it lists them."""
    made = typer.Typer(help=help_text, invoke_without_command=True, rich_markup_mode=None)

    def alone(context: typer.Context) -> None:
        show_help_when_alone(context)

    made.callback(help=help_text)(alone)
    return made


def show_help_when_alone(context: typer.Context) -> None:
    """Print the help of a group that was named without a command, and end well."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit
