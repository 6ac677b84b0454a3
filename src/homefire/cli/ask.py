"""`homefire ask`: one question, one answer."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from homefire.cli import arguments, stdin
from homefire.cli.arguments import ModelOption, SessionOption
from homefire.cli.command import Call, command
from homefire.errors import InvalidRequest


def register(app: typer.Typer) -> None:
    """Add `ask` to the command tree."""
    command(app, "ask")(ask)


def ask(
    call: Call,
    question: Annotated[
        str | None, typer.Argument(help="What to ask. `-`, or none, reads it from standard input.")
    ] = None,
    model: ModelOption = None,
    session: SessionOption = None,
    system: Annotated[str | None, typer.Option("--system", help="A system message put before.")] = None,
    max_tokens: Annotated[int | None, typer.Option("--max-tokens", min=1, help="Longest answer.")] = None,
    temperature: Annotated[
        float | None, typer.Option("--temperature", min=0.0, help="0 is the most likely answer.")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Makes sampling repeatable.")] = None,
    json_schema: Annotated[
        Path | None,
        typer.Option("--json-schema", metavar="FILE", help="The answer must be JSON of this schema."),
    ] = None,
    stream: Annotated[
        bool, typer.Option("--stream/--no-stream", help="Show the answer while it comes.")
    ] = True,
) -> Any:
    """Ask one question and print the answer.

    What is piped in is put below the question: `cat notes.md | homefire ask "Sum this up."`. The answer alone
    goes to standard output; who answered, and how fast, to standard error.
    """
    from homefire.cli.conversation import Conversation
    from homefire.cli.waiting import Waiting

    settings: dict[str, Any] = {
        "max_tokens": max_tokens,
        "temperature": temperature,
        "seed": seed,
        "json_schema": read_schema(json_schema) if json_schema is not None else None,
        "system": system,
    }
    text = read_question(call, question)
    session_id = arguments.session_id(call, session) if session is not None else None
    conversation = Conversation(call.client, model=model, session_id=session_id, settings=settings)
    with Waiting(call) as sign:
        if stream:
            answer = conversation.say(text, show=sign.until_first(call.out.piece))
            call.out.piece("\n")
        else:
            answer = conversation.say(text)
            sign.end()
            call.out.line(answer.text)
    if sys.stderr.isatty() or answer.num_trimmed_messages or answer.stop_reason == "length":
        call.out.note(answer.summary())
    return asdict(answer)


def read_question(call: Call, given: str | None) -> str:
    """The question, and below it what is piped in. InvalidRequest where there is nothing to ask."""
    if given is not None and not given.strip():
        raise InvalidRequest("There is nothing to ask: the question is empty.", hint="Write it in quotes.")
    if given in (None, "-"):
        if given == "-" and sys.stdin is not None and sys.stdin.isatty():
            call.out.note("type the question and end it with Ctrl-D")
        elif given is None and not stdin.is_given():
            raise InvalidRequest(
                "There is nothing to ask.", hint='Write the question in quotes: homefire ask "What is 2 + 3?"'
            )
        text = stdin.read_text()
        if not text.strip():
            raise InvalidRequest(
                "There is nothing to ask: standard input is empty.", hint="Write the question in quotes."
            )
        return text
    assert given is not None
    attached = stdin.read_text() if stdin.is_given() else ""
    return f"{given}\n\n{attached}" if attached.strip() else given


def read_schema(path: Path) -> dict[str, Any]:
    """A JSON Schema from a file. InvalidRequest for anything else."""
    try:
        schema = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidRequest(
            f"The schema {path} cannot be read: {error.strerror}.", hint="Name a file with a JSON Schema."
        ) from error
    except ValueError as error:
        raise InvalidRequest(f"{path} is not JSON: {error}.", hint="Correct the file.") from error
    if not isinstance(schema, dict):
        raise InvalidRequest(f"{path} is not a JSON Schema: it holds no object.", hint="Correct the file.")
    return schema
