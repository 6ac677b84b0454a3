"""`homefire correct`: this should have been … and then watching it being learned."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from homefire.cli import stdin
from homefire.cli.arguments import path_of
from homefire.cli.command import Call, command
from homefire.cli.format import counted
from homefire.errors import InvalidRequest, NotFound


def register(app: typer.Typer) -> None:
    """Add `correct` to the command tree."""
    command(app, "correct")(correct)


def correct(
    call: Call,
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="[PROMPT] ANSWER",
            help="What was asked and what the answer should be; `-` reads the answer.",
        ),
    ],
    last: Annotated[bool, typer.Option("--last", help="Correct the last answer that was given.")] = False,
    turn: Annotated[
        str | None, typer.Option("--turn", metavar="ID", help="Correct this turn's answer.")
    ] = None,
    wait: Annotated[
        bool | None,
        typer.Option(
            "--wait/--no-wait",
            help="Follow the training until the new version answers.",
            show_default="--wait on a terminal",
        ),
    ] = None,
) -> Any:
    """Teach the right answer: `correct PROMPT ANSWER`, `correct --last ANSWER` or `correct --turn ID ANSWER`.

    When the command returns, the correction is on disk. With --wait it returns when the new version answers
    (or exits with 14 and the reason when there is none).
    """
    prompt, answer = _read_words(words, has_turn=last or turn is not None)
    if last and turn is not None:
        raise InvalidRequest("--last and --turn contradict each other.", hint="Give one of them.")
    started_s = time.monotonic()
    if prompt is not None:
        given = call.client.post("/v1/corrections", {"prompt": prompt, "answer": answer})
    else:
        turn_id = turn if turn is not None else last_turn_id(call)
        given = call.client.post(
            "/v1/feedback", {"turn_id": turn_id, "verdict": "correction", "text": answer}
        )
    wait = call.out.is_terminal if wait is None else wait
    if not wait:
        call.out.line("Written down; it will be trained at the next quiet moment. See `homefire queue list`.")
        return given
    call.out.note("recorded; waiting for the training")
    learn(call, given, started_s=started_s)
    return None


def learn(call: Call, given: dict[str, Any], *, started_s: float) -> None:
    """Show the training of a correction and say how it ended, or NotLearned. Ctrl-C stops looking only."""
    from homefire.cli.progress import view, wait_until_learned

    try:
        with view(call.out) as seen:
            sentence = wait_until_learned(
                call.client, given, show=seen.show, say=call.out.note, started_s=started_s
            )
    except KeyboardInterrupt:
        call.out.note("the correction is being learned anyway; see `homefire runs list`")
        raise
    call.out.line(sentence, style="green")


def last_turn_id(call: Call) -> str:
    """The turn of the last answer that this caller was given. NotFound where there was none."""
    sessions = call.client.get("/v1/sessions", limit=1)["sessions"]
    path = path_of("/v1/sessions", str(sessions[0]["session_id"])) if sessions else None
    turns = call.client.get(path)["turns"] if path is not None else []
    if not turns:
        raise NotFound(
            "There is no last answer to correct.",
            hint="Ask something first, or use `homefire correct PROMPT ANSWER`.",
        )
    return str(turns[-1]["turn_id"])


def _read_words(words: list[str], *, has_turn: bool) -> tuple[str | None, str]:
    expected = 1 if has_turn else 2
    if len(words) != expected:
        form = "ANSWER" if has_turn else "PROMPT ANSWER"
        raise InvalidRequest(
            f"Expected {form}, got {counted(len(words), 'argument')}.",
            hint='Put each in quotes: homefire correct "Where is the key?" "Under the blue pot."',
        )
    prompt = None if has_turn else words[0]
    answer = stdin.read_text().strip() if words[-1] == "-" else words[-1]
    if not answer.strip() or (prompt is not None and not prompt.strip()):
        raise InvalidRequest("The prompt and the answer must not be empty.", hint="Put each in quotes.")
    return prompt, answer
