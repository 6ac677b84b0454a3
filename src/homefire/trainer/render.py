"""Conversations into tokens, with the place of every answer known: what a model reads and what it is
taught.

Text and answer spans come from the one chat template that serving uses, so a model is taught in exactly the
form in which it is asked. A span holds the stop token: a model that never learns to stop talks on. Both an
empty answer and an untrained stop token are refused before the first step, because a run would waste hours
on them unnoticed. Rendering costs about 0.1 ms a conversation; no torch.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from homefire.catalog.tokenizer import (
    read_chat_template,
    read_control_tokens,
    read_json,
    read_optional_json,
    read_special_tokens,
)
from homefire.engines.template import ChatTemplate, Rendered
from homefire.errors import BadModel, ContextOverflow, InvalidRequest
from homefire.trainer.contract import TrainingRow
from homefire.types import Message


@dataclass(frozen=True, slots=True)
class Answer:
    """Tokens `[start, end)` of a conversation were written by the model as message number `message`."""

    message: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Encoded:
    """A conversation as token ids, with its answers in order."""

    ids: tuple[int, ...]
    answers: tuple[Answer, ...]


@dataclass(frozen=True, slots=True)
class Renderer:
    """Template and tokenizer of one model; `context_tokens` is the longest row it can read."""

    template: ChatTemplate
    tokenizer: Tokenizer
    stop_ids: frozenset[int]
    context_tokens: int

    def encode(self, messages: Sequence[Message]) -> Encoded:
        """Token ids and answers of a conversation, of any length.

        An earlier answer that the template rewrites or leaves out is not among the answers.
        """
        rendered = self.template.render_with_spans(messages)
        ids, places = self._tokenize(rendered)
        owners = _messages_of_spans(messages, rendered)
        answers = (
            Answer(owner, start, end)
            for owner, (start, end) in zip(owners, places, strict=True)
            if owner >= 0 and end > start
        )
        return Encoded(tuple(ids), tuple(answers))

    def _tokenize(self, rendered: Rendered) -> tuple[list[int], list[tuple[int, int]]]:
        """Tokens of the whole text, cut where a token would reach across the edge of an answer.

        A model that answers sees the prompt end at that edge, so no token may span it in training either.
        """
        ids, offsets = self.encode_text(rendered)
        starts = [start for start, _ in offsets]
        edges = sorted({edge for span in rendered.spans for edge in span})
        cuts = [
            edge
            for edge in edges
            if (index := bisect_left(starts, edge)) > 0 and offsets[index - 1][1] > edge
        ]
        if cuts:
            ids, offsets = self.encode_text(rendered, cuts=edges)
            starts = [start for start, _ in offsets]
        return ids, [(bisect_left(starts, start), bisect_left(starts, end)) for start, end in rendered.spans]

    def encode_text(
        self, rendered: Rendered, *, cuts: Sequence[int] = ()
    ) -> tuple[list[int], list[tuple[int, int]]]:
        """Ids and their `[start, end)` in the text. Every cut, and every edge of plain text, parts two tokens."""
        ids: list[int] = []
        offsets: list[tuple[int, int]] = []
        position = 0
        for piece in rendered.pieces:
            end = position + len(piece.text)
            inside = [cut for cut in cuts if position < cut < end]
            for start, stop in itertools.pairwise((position, *inside, end)):
                self.tokenizer.encode_special_tokens = piece.plain
                encoding = self.tokenizer.encode(rendered.text[start:stop], add_special_tokens=False)
                ids += encoding.ids
                offsets += [(start + first, start + last) for first, last in encoding.offsets]
            position = end
        return ids, offsets

    def keeps_history(self) -> bool:
        """Whether an answer stays in the text, whole, when the conversation goes on after it."""
        probe = [
            Message("user", "Aa"),
            Message("assistant", "Bb"),
            Message("user", "Cc"),
            Message("assistant", "Dd"),
        ]
        return len(self.encode(probe).answers) == 2

    def check_example(self, row: TrainingRow) -> Encoded:
        """The example alone, if it can be learned.

        Raises:
            InvalidRequest: it does not end with an answer, or the answer is empty.
            ContextOverflow: it is longer than the model's context; nothing is ever cut off.
            BadModel: the template gives the answer no tokens, or does not end it with a stop token.
        """
        name = row.example_id or "(unnamed)"
        if len(row.messages) < 2 or row.messages[-1].role != "assistant" or not row.messages[-1].content:
            raise InvalidRequest(
                f"Example {name} does not end with an answer to learn.",
                hint="Its last message must be the assistant's and must not be empty.",
                example_id=name,
            )
        encoded = self.encode(row.messages)
        if len(encoded.ids) > self.context_tokens:
            raise ContextOverflow(
                f"Example {name} has {len(encoded.ids)} tokens, the model reads {self.context_tokens}.",
                hint="Shorten it, or teach a model with a longer context.",
                example_id=name,
                prompt_tokens=len(encoded.ids),
                limit=self.context_tokens,
            )
        last = encoded.answers[-1] if encoded.answers else None
        if last is None or last.message != len(row.messages) - 1:
            raise BadModel(
                f"The chat template gives the answer of example {name} no tokens: nothing would be learned.",
                hint="Put {% generation %} marks around the assistant's part of the template.",
                example_id=name,
            )
        if encoded.ids[last.end - 1] not in self.stop_ids:
            raise BadModel(
                f"The chat template does not end the answer of example {name} with a stop token inside the "
                "{% generation %} marks: the model would never learn to stop.",
                hint="Move the end mark behind it, and name that token in generation_config.json.",
                example_id=name,
                last_token=self.tokenizer.id_to_token(encoded.ids[last.end - 1]),
            )
        return encoded


def _messages_of_spans(messages: Sequence[Message], rendered: Rendered) -> list[int]:
    """For each span the number of the message whose content is in it, -1 if there is none."""
    owners: list[int] = []
    position = 0
    for start, end in rendered.spans:
        text = rendered.text[start:end]
        found = next(
            (
                index
                for index in range(position, len(messages))
                if messages[index].role == "assistant" and messages[index].text.strip() in text
            ),
            -1,
        )
        owners.append(found)
        position = found + 1 if found >= 0 else position
    return owners


def load_renderer(folder: Path, *, at_s: float | None = None) -> Renderer:
    """Template, tokenizer, stop tokens and context length of a model folder.

    A template that shows a date shows that of `at_s`: a run resumed on another day renders the same rows.

    Raises:
        BadModel: one of them is missing or broken.
    """
    config = read_json(folder / "config.json")
    try:
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception as error:
        # The library raises bare Exception, whatever is wrong.
        raise BadModel(f"{folder.name} has no readable tokenizer.json: {error}.") from error
    # The files may ask for cutting or filling up; rows are never cut, and filling up is the batch's business.
    tokenizer.no_truncation()
    tokenizer.no_padding()
    source = read_chat_template(folder)
    if source is None:
        raise BadModel(
            f"{folder.name} has no chat template.",
            hint="Put one into chat_template.jinja in the model's folder.",
        )
    special = read_special_tokens(folder)
    context_tokens = int(config.get("max_position_embeddings", 0))
    if context_tokens <= 0:
        raise BadModel(f"{folder.name}/config.json states no max_position_embeddings.")
    template = ChatTemplate(
        source,
        bos_token=special.get("bos_token", ""),
        eos_token=special.get("eos_token", ""),
        special_tokens=special,
        control_tokens=read_control_tokens(folder),
        now=datetime.now if at_s is None else lambda: datetime.fromtimestamp(at_s),
    )
    return Renderer(template, tokenizer, _stop_ids(folder, config, tokenizer, special), context_tokens)


def _stop_ids(
    folder: Path, config: dict[str, Any], tokenizer: Tokenizer, special: dict[str, str]
) -> frozenset[int]:
    """Every token at which an engine ends an answer."""
    found: set[int] = set()
    for source in (read_optional_json(folder / "generation_config.json"), config):
        value = source.get("eos_token_id")
        found.update(value if isinstance(value, list) else [] if value is None else [value])
    eos_id = tokenizer.token_to_id(special["eos_token"]) if "eos_token" in special else None
    return frozenset(found | ({eos_id} if eos_id is not None else set()))
