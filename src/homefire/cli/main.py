"""The `homefire` command: its groups, the options all commands share, and the way errors leave it.

Command modules import Typer only; what a command needs it imports when it runs, so that `homefire --help`
answers at once and `homefire up` carries nothing of the other commands in memory.
"""

from __future__ import annotations

import errno
import io
import itertools
import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

import homefire
from homefire.cli import (
    ask,
    chat,
    config,
    correct,
    corrections,
    demo,
    doctor,
    erase,
    keys,
    models,
    runs,
    sessions,
    status,
    store,
    up,
    versions,
)
from homefire.cli.command import (
    HomeOption,
    JsonOption,
    KeyOption,
    OutputClosed,
    Shared,
    UrlOption,
    command,
    show_help_when_alone,
)
from homefire.cli.exits import epilog
from homefire.cli.output import printable
from homefire.errors import ConfigError, HomefireError, InvalidRequest, StoreFull
from homefire.plugins import Plugins, load_plugins

INTERRUPTED = 130
OUTPUT_CLOSED = 141


def build(plugins: Plugins | None = None) -> typer.Typer:
    """The whole command tree, with the commands that plugins bring (none where None)."""
    app = typer.Typer(
        name="homefire",
        help=homefire.__doc__,
        epilog=epilog(),
        invoke_without_command=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_shared)
    for module in (up, chat, ask, correct, erase, status, doctor, demo):
        module.register(app)
    for name, module in (
        ("models", models),
        ("corrections", corrections),
        ("runs", runs),
        ("versions", versions),
        ("sessions", sessions),
        ("keys", keys),
        ("store", store),
        ("config", config),
    ):
        app.add_typer(module.commands(), name=name)
    app.add_typer(runs.queue_commands(), name="queue")
    if plugins is not None:
        taken = {
            *(info.name for info in app.registered_commands),
            *(info.name for info in app.registered_groups),
        }
        for name, function in plugins.all("cli_commands").items():
            if name in taken:
                raise ConfigError(f"A plugin brings the command “{name}”, which is there already.", name=name)
            command(app, name)(function)
    return app


def installed_plugins() -> Plugins | None:
    """What installed packages bring; None, with a warning, where one is broken: other commands still work."""
    try:
        return load_plugins()
    except ConfigError as error:
        sys.stderr.write(f"warning: plugins are left out: {printable(str(error))}\n")
        return None


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"homefire {homefire.__version__}")
        raise typer.Exit


def _shared(
    context: typer.Context,
    home: HomeOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
    json: JsonOption = False,
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version and exit.", callback=_show_version, is_eager=True),
    ] = False,
) -> None:
    """A self-hosted AI that serves, remembers, learns from corrections, and can always go back.

    The options below are accepted before and after the command's name.
    """
    context.obj = Shared(home=home, url=url, key=key, json=json)
    show_help_when_alone(context)


def run(arguments: Sequence[str]) -> int:
    """Run one command line; returns the exit code. Foreseen errors are reported, others propagate."""
    from typer.exceptions import Abort, TyperException

    from homefire.cli import report

    options = list(itertools.takewhile(lambda argument: argument != "--", arguments))
    as_json = "--json" in options
    try:
        try:
            app = build(installed_plugins())
            code: Any = app(list(arguments), prog_name="homefire", standalone_mode=False)
            sys.stdout.flush()
        except HomefireError as error:
            report.show(error, as_json=as_json)
            return error.exit_code
        except TyperException as error:
            usage = InvalidRequest(error.format_message() or "Wrong usage.", hint=_help_hint(error))
            report.show(usage, as_json=as_json)
            return usage.exit_code
        except (Abort, KeyboardInterrupt):
            return INTERRUPTED
        except SystemExit as ended:
            # Typer itself ends the process where help meets a closed pipe.
            if isinstance(ended.__context__, BrokenPipeError):
                return OUTPUT_CLOSED
            raise
    except (BrokenPipeError, OutputClosed):
        _abandon_output()
        return OUTPUT_CLOSED
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        _abandon_output()
        full = StoreFull(
            "The output cannot be written: its disk is full.", hint="Make room, and run it again."
        )
        report.show(full, as_json=False)
        return full.exit_code
    return code if isinstance(code, int) else 0


def _abandon_output() -> None:
    """What is still buffered for standard output goes nowhere: the interpreter would complain at its end."""
    try:
        number = sys.stdout.fileno()
    except (OSError, ValueError):
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, number)
    os.close(nowhere)


def _help_hint(error: Exception) -> str:
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "homefire"
    return f"See `{path} --help`."


def main() -> None:
    """Entry point of the `homefire` script. Always ends the process."""
    # Python has no stream where a descriptor was closed (`>&-`).
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115, PTH123
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115, PTH123
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a character gets its code, not a traceback.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = run(sys.argv[1:])
    except KeyboardInterrupt:
        code = INTERRUPTED
    sys.exit(code)
