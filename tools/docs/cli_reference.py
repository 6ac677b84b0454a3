"""Write docs/reference/cli.md from the live command tree.

    python -m tools.docs.cli_reference

A test compares the committed page with what this makes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from typer.main import get_command

from homefire.cli.chat_commands import COMMANDS
from homefire.cli.exits import EXIT_CODES
from homefire.cli.main import build

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "cli.md"
HEAD = """\
# The command line

Made from the command tree by `python -m tools.docs.cli_reference`. The same as `homefire COMMAND --help`.

Every command except `up`, `config`, `doctor` and `demo` is a client of the running server: the one at `--url`, else
the one of `--home`, else the one at `HOMEFIRE_URL`, else the one of `HOMEFIRE_HOME` or `~/.homefire`. The server of a
home proves that it is this home's before anything is sent to it ([how](../guides/command_line.md)).

**Output.** Tables and colours on a terminal, plain aligned text in a pipe, and with `--json` one JSON
document on standard output (`runs watch`, `correct --wait`, `chat`: one a line). Results go to standard
output, asides to standard error.

**Errors** are three lines on standard error: what happened, why (code and figures), what to do. With
`--json` they are one line `{"error": {"code", "message", "hint", "details"}}` on standard output; the codes are
in [errors](errors.md).

**Completion.** `homefire --install-completion` teaches your shell commands, options, and the names of
models, versions, runs and sessions (asked from the server; nothing is offered while it is down).
"""


def make_page() -> str:
    """The whole page."""
    root: Any = get_command(build())
    parts = [
        HEAD,
        "## Options of every command\n",
        _options(root, [parameter for parameter in root.params if parameter.name != "help"]),
        "\n## Commands\n",
        "| command | what it does |\n|---|---|",
        *(
            f"| [`{path}`](#{path.replace(' ', '-')}) | {_first_sentence(command.help)} |"
            for path, command in _leaves(root, "homefire")
        ),
    ]
    parts += [_section(path, command) for path, command in _leaves(root, "homefire")]
    parts += ["\n## In the chat\n", "| command | what it does |\n|---|---|"]
    parts += [
        f"| `{f'/{name} {entry.argument}'.strip()}` | {entry.meaning} |" for name, entry in COMMANDS.items()
    ]
    parts += ["\n## Exit codes\n", "| code | meaning |\n|---|---|"]
    parts += [f"| {code} | {meaning} |" for code, meaning in EXIT_CODES.items()]
    return "\n".join(parts) + "\n"


def _leaves(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    children = getattr(command, "commands", None)
    if children is None:
        yield path, command
        return
    for name, child in children.items():
        yield from _leaves(child, f"{path} {name}")


def _section(path: str, command: Any) -> str:
    shown = [parameter for parameter in command.params if not parameter.hidden and parameter.name != "json_"]
    arguments = [parameter for parameter in shown if parameter.param_type_name == "argument"]
    options = [parameter for parameter in shown if parameter.param_type_name == "option"]
    usage = " ".join(
        [path, *(_argument(argument) for argument in arguments), *(["[OPTIONS]"] if options else [])]
    )
    lines = [f"\n### `{path}`\n", f"```text\n{usage}\n```\n", _prose(command.help)]
    if arguments:
        lines += ["", "| argument | |\n|---|---|"]
        lines += [f"| `{_metavar(argument)}` | {argument.help or ''} |" for argument in arguments]
    if options:
        lines += ["", _options(command, options)]
    return "\n".join(lines)


def _options(command: Any, options: list[Any]) -> str:
    context = typer.Context(command)
    rows = ["| option | what it does |", "|---|---|"]
    for option in options:
        record = option.get_help_record(context)
        assert record is not None, option.name
        names, about = record
        rows.append(f"| `{names.replace('|', chr(92) + '|')}` | {about.replace('|', chr(92) + '|')} |")
    return "\n".join(rows)


def _argument(argument: Any) -> str:
    name = _metavar(argument)
    return name if argument.required or name.startswith("[") else f"[{name}]"


def _metavar(argument: Any) -> str:
    return str(argument.metavar or argument.name.upper())


def _prose(text: str | None) -> str:
    return "\n".join(line.strip() for line in (text or "").strip().splitlines())


def _first_sentence(text: str | None) -> str:
    """Up to the first full stop, question mark or colon that ends a sentence."""
    flat = " ".join((text or "").split())
    return flat.split(". ")[0].rstrip(".").replace("|", "\\|") + "."


if __name__ == "__main__":
    PAGE.write_text(make_page(), encoding="utf-8")
