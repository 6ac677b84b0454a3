"""What can be typed into `chat`: a message, or one of the slash commands below.

An error never ends the conversation: it is shown like any other command's, and the next line is read.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from homefire.cli import report
from homefire.cli.command import Call
from homefire.cli.conversation import Answer, Conversation
from homefire.cli.correct import learn
from homefire.cli.sessions import export_session
from homefire.cli.waiting import Waiting
from homefire.errors import Conflict, HomefireError, InvalidRequest

if TYPE_CHECKING:
    from homefire.cli.background import Background

Edit = Callable[[str, str], str]


class Leave(Exception):
    """The person wants to leave."""


@dataclass
class Chat:
    """One sitting."""

    call: Call
    conversation: Conversation
    edit: Edit | None = None
    """Asks for text on a terminal; None in a pipe."""
    background: Background | None = None
    """Learns corrections while you keep chatting; None in a pipe, where /correct waits."""

    def take(self, text: str) -> None:
        """One line of input: a command or a message. Leave is raised by /quit; Ctrl-C cancels what runs."""
        try:
            if text.startswith("/"):
                self._command(text)
            else:
                self._answer(lambda show: self.conversation.say(text, show=show))
        except HomefireError as error:
            report.show(error, as_json=self.call.json)
        except KeyboardInterrupt:
            self.call.out.piece("\n")
            self.call.out.note("cancelled")

    def _command(self, text: str) -> None:
        name, _, rest = text[1:].partition(" ")
        entry = COMMANDS.get(name)
        if entry is None:
            raise InvalidRequest(f"There is no command /{name}.", hint="/help lists them.")
        entry.run(self, rest.strip())

    def _answer(self, ask: Callable[[Callable[[str], None]], Answer]) -> None:
        with Waiting(self.call) as sign:
            answer = ask(sign.until_first(self.call.out.piece))
        self.call.out.piece("\n")
        if self.call.json:
            self.call.out.record(asdict(answer))
        self.call.out.note(answer.summary())

    def _last(self) -> Answer:
        if self.conversation.last is None:
            raise Conflict("There is no answer yet that could be judged.", hint="Say something first.")
        return self.conversation.last

    def _judge(self, verdict: str) -> None:
        self.call.client.post("/v1/feedback", {"turn_id": self._last().turn_id, "verdict": verdict})
        self.call.out.note("noted")

    def good(self, _: str) -> None:
        """Thumbs up."""
        self._judge("good")

    def bad(self, _: str) -> None:
        """Thumbs down."""
        self._judge("bad")

    def correct(self, text: str) -> None:
        """What the last answer should have been; on a terminal without text, an editor opens on it."""
        answer = self._last()
        if not text:
            if self.edit is None:
                raise InvalidRequest("/correct needs the right answer.", hint="/correct TEXT")
            text = self.edit("should have been> ", answer.text).strip()
        if not text:
            self.call.out.note("nothing was corrected")
            return
        started_s = time.monotonic()
        body = {"turn_id": answer.turn_id, "verdict": "correction", "text": text}
        given = self.call.client.post("/v1/feedback", body)
        if self.background is not None:
            self.background.learn(given, started_s=started_s)
            self.call.out.note("recorded; it is being learned; you can keep chatting")
        else:
            learn(self.call, given, started_s=started_s)

    def model(self, name: str) -> None:
        """Choose or show who answers."""
        if name:
            route = self.call.client.get("/v1/route", model=name)
            self.conversation.model = name
        else:
            route = self.call.client.get("/v1/route", model=self.conversation.model)
        self.call.out.note(f"{route['served_model']} answers")

    def route(self, _: str) -> None:
        """The reasons of the last route, or of the next one."""
        if self.conversation.last is not None:
            last = self.conversation.last
            self.call.out.line(f"{last.served_model}: {last.route_reason}")
        else:
            found = self.call.client.get("/v1/route", model=self.conversation.model)
            self.call.out.line(f"{found['served_model']}: {found['reason']}")

    def export(self, file: str) -> None:
        """Write or print the conversation."""
        if self.conversation.session_id is None:
            raise Conflict("There is nothing to export yet.", hint="Say something first.")
        target = Path(file) if file else None
        found = export_session(self.call, self.conversation.session_id, file=target, form=None)
        if self.call.json:
            self.call.out.record(found)

    def new(self, _: str) -> None:
        """Begin a new conversation."""
        self.conversation.session_id = None
        self.conversation.last = None
        self.call.out.note("a new conversation")

    def regenerate(self, _: str) -> None:
        """Answer the last message again."""
        self._answer(lambda show: self.conversation.regenerate(show=show))

    def help(self, _: str) -> None:
        """List the commands."""
        for name, command in COMMANDS.items():
            self.call.out.line(f"  {f'/{name} {command.argument}'.strip():<18} {command.meaning}")

    def quit(self, _: str) -> None:
        """Leave."""
        raise Leave


@dataclass(frozen=True, slots=True)
class Command:
    """A slash command: its argument and meaning for /help, and what it does with the text after it."""

    argument: str
    meaning: str
    run: Callable[[Chat, str], None]


COMMANDS: Mapping[str, Command] = MappingProxyType(
    {
        "good": Command("", "the last answer was good", Chat.good),
        "bad": Command("", "the last answer was bad", Chat.bad),
        "correct": Command("[TEXT]", "the last answer should have been TEXT: learn it", Chat.correct),
        "regenerate": Command("", "answer the last message again", Chat.regenerate),
        "model": Command("[NAME]", "who answers from now on; without NAME: who does", Chat.model),
        "route": Command("", "why the last answer came from where it came", Chat.route),
        "export": Command("[FILE]", "write the conversation to FILE (.md, .json) or print it", Chat.export),
        "new": Command("", "begin a new conversation", Chat.new),
        "help": Command("", "this list", Chat.help),
        "quit": Command("", "leave (also Ctrl-D)", Chat.quit),
    }
)
