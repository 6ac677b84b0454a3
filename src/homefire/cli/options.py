"""Options that several commands take alike."""

from __future__ import annotations

from typing import Annotated

import typer

from homefire.cli.complete import complete_model, complete_session

ModelOption = Annotated[
    str | None,
    typer.Option("--model", "-m", help="Model, version or alias.", autocompletion=complete_model),
]
SessionOption = Annotated[
    str | None,
    typer.Option("--session", "-s", help="Continue this session.", autocompletion=complete_session),
]
