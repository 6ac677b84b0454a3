"""Chat templates: the one place where a conversation becomes the text a model reads.

Serving and training render through here, so a model is asked in exactly the form it was taught in. The
Jinja environment (sandboxed, immutable) has the options, filters and globals of transformers, so a template
renders to the same characters there and here. `{% generation %}` marks say which characters the model itself
wrote; a template without marks gets its spans from prefixes. Rendering costs some tens of microseconds.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NoReturn

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from homefire.engines.control_text import ControlText, Piece, pieces_of
from homefire.errors import BadModel, InvalidRequest, quoted
from homefire.types import Attachment, Message, Reasoning, ToolCall, ToolResult

_TEMPLATE_FAULTS = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError)
"""What Python raises out of a template's own expressions."""
_COMPILE_FAULTS = (*_TEMPLATE_FAULTS, SyntaxError)
"""What Python raises where a template is nested too deeply, or its constants are folded."""
_SWITCHES: dict[str, Any] = {"enable_thinking": False}
"""Models that can reason before they answer (Qwen3) are asked not to: what they are taught is an answer, and a
person on a small machine waits for one. Templates without this switch do not look at it."""
_GENERATION_TAG = re.compile(r"\{%-?\s*(?:end)?generation\s*-?%\}")


@dataclass(frozen=True, slots=True)
class Rendered:
    """A conversation as text, with `[start, end)` character offsets."""

    text: str
    spans: tuple[tuple[int, int], ...] = ()
    """What the model wrote."""
    plain: tuple[tuple[int, int], ...] = ()
    """Where text that looks like a control token is only text."""

    @property
    def pieces(self) -> list[Piece]:
        """The text as it is to be tokenised."""
        return pieces_of(self.text, self.plain)


class _GenerationMarks(jinja2.ext.Extension):
    """`{% generation %}…{% endgeneration %}`: renders its body, and reports its place to `recorder`."""

    tags = {"generation"}  # noqa: RUF012 - the base class declares it this way

    def __init__(self, environment: jinja2.Environment) -> None:
        super().__init__(environment)
        self.recorder: Callable[[str], None] | None = None

    def parse(self, parser: jinja2.parser.Parser) -> jinja2.nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_render_marked"), [], [], body).set_lineno(line)

    def _render_marked(self, caller: Callable[[], str]) -> str:
        text = caller()
        if self.recorder is not None:
            self.recorder(text)
        return text


class _Namespace(jinja2.utils.Namespace):
    """Jinja's namespace without underscore names: those reach CPython internals."""

    def __init__(*args: Any, **kwargs: Any) -> None:
        # `self` comes positionally, so that a template may write namespace(self=…).
        instance, values = args[0], dict(*args[1:], **kwargs)
        for name in values:
            _refuse_underscore(name)
        jinja2.utils.Namespace.__init__(instance, values)

    def __setitem__(self, name: str, value: Any) -> None:
        _refuse_underscore(name)
        super().__setitem__(name, value)


def _refuse_underscore(name: object) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise jinja2.exceptions.SecurityError(f"a template may not store the underscore name {quoted(name)}")


def _raise_exception(message: str) -> NoReturn:
    raise jinja2.exceptions.TemplateError(message)


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def _environment(now: Callable[[], datetime]) -> tuple[jinja2.Environment, _GenerationMarks]:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_GenerationMarks, jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = lambda form: now().strftime(form)
    environment.globals["namespace"] = _Namespace
    marks = next(item for item in environment.extensions.values() if isinstance(item, _GenerationMarks))
    return environment, marks


class ChatTemplate:
    """A compiled template with the special tokens it may name. Threads may share one.

    `control_tokens` are the texts that only the template itself may write as such. A source that does not compile,
    and messages the template refuses, raise BadModel. `now` is the day that templates with a date in them show.
    """

    def __init__(
        self,
        source: str,
        *,
        bos_token: str = "",
        eos_token: str = "",
        special_tokens: Mapping[str, str] | None = None,
        control_tokens: Iterable[str] = (),
        now: Callable[[], datetime] = datetime.now,
    ) -> None:
        self.source = source
        self.eos_token = eos_token
        self._control = ControlText(control_tokens)
        self._variables = {
            **_SWITCHES,
            **(special_tokens or {}),
            "bos_token": bos_token,
            "eos_token": eos_token,
        }
        self._environment, self._marks = _environment(now)
        self._lock = threading.Lock()
        try:
            self._template = self._environment.from_string(source)
        except (jinja2.TemplateError, *_COMPILE_FAULTS) as error:
            raise BadModel(f"The model's chat template does not compile: {error}.") from error
        self.has_generation_marks = bool(_GENERATION_TAG.search(source))
        self._shows_tools = "tool_calls" in source

    def render(self, messages: Sequence[Message], add_generation_prompt: bool = True) -> Rendered:
        """A conversation without its spans, by default up to where the next answer begins."""
        entries = [entry for message in messages for entry in self._entries(message)]
        with self._lock:
            return self._rendered(entries, [], add_generation_prompt=add_generation_prompt)

    def render_with_spans(self, messages: Sequence[Message]) -> Rendered:
        """A finished conversation and which of it the model wrote, the stop token included.

        Without marks in the template the spans come from prefixes: what an answer adds to the rendering of
        the messages before it. An earlier answer that the template rewrites (some drop old reasoning) gets no
        span; when that happens to the last answer, BadModel.
        """
        if not self.has_generation_marks:
            return self._spans_by_prefix(messages)
        entries = [entry for message in messages for entry in self._entries(message)]
        blocks: list[str] = []
        spans: list[tuple[int, int]] = []

        def record(text: str) -> None:
            start = sum(map(len, blocks))
            spans.append((start, start + len(text)))

        with self._lock, self._recording(record):
            return self._rendered(entries, spans, add_generation_prompt=False, blocks=blocks)

    def _rendered(
        self,
        entries: list[dict[str, Any]],
        spans: list[tuple[int, int]],
        *,
        add_generation_prompt: bool,
        blocks: list[str] | None = None,
    ) -> Rendered:
        """What the template makes of the entries; `spans` and `blocks` are filled while it does."""
        hidden = self._control.hide(entries)
        blocks = [] if blocks is None else blocks
        conversation = entries if hidden is None else hidden.value
        for block in self._blocks(conversation, add_generation_prompt=add_generation_prompt):
            # One by one: the recorder measures what came before.
            blocks.append(block)
        text = "".join(blocks)
        if hidden is None:
            return Rendered(text, tuple(spans))
        meant = hidden.unhide(text, spans)
        return Rendered(meant.text, meant.spans, meant.plain)

    @contextmanager
    def _recording(self, recorder: Callable[[str], None]) -> Iterator[None]:
        self._marks.recorder = recorder
        try:
            yield
        finally:
            self._marks.recorder = None

    def _blocks(self, conversation: list[dict[str, Any]], *, add_generation_prompt: bool) -> Iterator[str]:
        try:
            yield from self._template.generate(
                messages=conversation,
                tools=None,
                documents=None,
                add_generation_prompt=add_generation_prompt,
                **self._variables,
            )
        except (jinja2.TemplateError, *_TEMPLATE_FAULTS) as error:
            raise BadModel(
                f"The model's chat template refused this conversation: {error}.",
                hint="Some templates demand that user and assistant alternate, or know no system message.",
            ) from error

    def _entries(self, message: Message) -> list[dict[str, Any]]:
        """A message as templates know it (transformers' form): one entry, or one for each result of a tool.

        Raises InvalidRequest for what this template, or any template, cannot show: nothing is left out unseen.
        """
        if isinstance(message.content, str):
            return [{"role": message.role, "content": message.content}]
        results = [part for part in message.content if isinstance(part, ToolResult)]
        calls = [part for part in message.content if isinstance(part, ToolCall)]
        if any(
            isinstance(part, Attachment)
            for part in (*message.content, *(piece for result in results for piece in result.content))
        ):
            raise InvalidRequest("This model reads text only, not attachments.", param="messages")
        if (calls or results) and not self._shows_tools:
            raise InvalidRequest(
                "This model's chat template has no place for tool calls and their results.",
                hint="Use a model that was made for tools.",
                param="messages",
            )
        if results:
            return [
                {"role": "tool", "content": result.text, "tool_call_id": result.call_id} for result in results
            ]
        entry: dict[str, Any] = {"role": message.role, "content": message.text}
        reasoning = "".join(part.text for part in message.content if isinstance(part, Reasoning))
        if reasoning:
            entry["reasoning_content"] = reasoning
        if calls:
            entry["tool_calls"] = [
                {
                    "id": call.call_id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": call.arguments},
                }
                for call in calls
            ]
        return [entry]

    def _spans_by_prefix(self, messages: Sequence[Message]) -> Rendered:
        rendered = self.render(messages, add_generation_prompt=False)
        text = rendered.text
        spans: list[tuple[int, int]] = []
        for index, message in enumerate(messages):
            if message.role != "assistant":
                continue
            before = self.render(messages[:index], add_generation_prompt=True).text
            through = self.render(messages[: index + 1], add_generation_prompt=False).text
            if text.startswith(through) and through.startswith(before) and len(through) > len(before):
                spans.append((len(before), self._end_at_stop_token(text, len(before), len(through))))
            elif all(later.role != "assistant" for later in messages[index + 1 :]):
                raise BadModel(
                    "The model's chat template has no {% generation %} marks, and its answers cannot be told "
                    "from its prompts by their prefixes.",
                    hint="Put {% generation %} marks around the assistant's part of the template.",
                )
        return Rendered(text, tuple(spans), rendered.plain)

    def _end_at_stop_token(self, text: str, start: int, end: int) -> int:
        """Leaves out what follows the stop token (ChatML's line break): a model stops before it."""
        if not self.eos_token:
            return end
        position = text.rfind(self.eos_token, start, end)
        return end if position < 0 else position + len(self.eos_token)


def strip_generation_marks(source: str) -> str:
    """The same template for renderers that know no `{% generation %}`; whitespace control is kept.

    A mark becomes an empty comment, which trims exactly what the mark trimmed.
    """

    def comment(match: re.Match[str]) -> str:
        mark = match.group()
        return f"{{#{'-' if mark.startswith('{%-') else ''} {'-' if mark.endswith('-%}') else ''}#}}"

    return _GENERATION_TAG.sub(comment, source)
