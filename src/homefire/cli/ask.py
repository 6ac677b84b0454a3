"""`homefire ask`: one question, one answer."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from homefire.cli.command import Call, command
from homefire.cli.options import ModelOption, SessionOption
from homefire.errors import InvalidRequest


def register(app: typer.Typer) -> None:
    """Add `ask` to the command tree."""
    command(app, "ask")(ask)


def ask(
    call: Call,
    question: Annotated[str, typer.Argument(help="What to ask; `-` reads it from standard input.")],
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
) -> None:
    """Ask one question and print the answer.

    The answer alone goes to standard output; who answered, and how fast, to standard error.
    """
    from homefire.cli.conversation import Conversation

    text = sys.stdin.read().strip() if question == "-" else question
    if not text.strip():
        raise InvalidRequest("There is nothing to ask: the question is empty.", hint="Write it in quotes.")
    settings: dict[str, Any] = {
        "max_tokens": max_tokens,
        "temperature": temperature,
        "seed": seed,
        "json_schema": read_schema(json_schema) if json_schema is not None else None,
        "system": system,
    }
    conversation = Conversation(call.client, model=model, session_id=session, settings=settings)
    if not stream or call.json:
        answer = conversation.say(text)
        call.out.line(answer.text)
    else:
        answer = conversation.say(text, show=call.out.piece)
        call.out.piece("\n")
    if call.json:
        from dataclasses import asdict

        call.out.document(asdict(answer))
    elif sys.stderr.isatty() or answer.num_trimmed_messages or answer.stop_reason == "length":
        call.out.note(answer.summary())


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
