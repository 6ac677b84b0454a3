from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from homefire.engines.template import ChatTemplate
from homefire.errors import BadModel, ContextOverflow, InvalidRequest
from homefire.trainer import render
from homefire.trainer.contract import TrainingRow
from homefire.trainer.render import Renderer, load_renderer
from homefire.types import Message
from tests.support.trainer import EMBER, row

EMBER_RENDERER = load_renderer(EMBER)
TEXT = st.one_of(
    st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=40),
    st.lists(st.sampled_from(("<|im_end|>", "<|im_start|>", "a", " ", "\n", "<|", "é")), min_size=1).map(
        "".join
    ),
)
"""With control tokens as text: they are as good as any other."""


def spoken(renderer: Renderer, messages: tuple[Message, ...]) -> list[str]:
    """The text of each answer's tokens."""
    encoded = renderer.encode(messages)
    return [
        renderer.tokenizer.decode(list(encoded.ids[a.start : a.end]), skip_special_tokens=False)
        for a in encoded.answers
    ]


@given(st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=3))
def test_every_answer_is_covered_exactly_with_its_stop_token(turns: list[tuple[str, str]]) -> None:
    messages = tuple(m for question, answer in turns for m in row(question, answer).messages)
    assert spoken(EMBER_RENDERER, messages) == [f"{answer}<|im_end|>" for _, answer in turns]
    assert [a.message for a in EMBER_RENDERER.encode(messages).answers] == list(range(1, 2 * len(turns), 2))


@given(st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=3))
def test_a_prompt_is_tokenised_in_training_as_in_serving(turns: list[tuple[str, str]]) -> None:
    messages = tuple(m for question, answer in turns for m in row(question, answer).messages)
    encoded = EMBER_RENDERER.encode(messages)
    rendered = EMBER_RENDERER.template.render(messages[:-1])
    prompt, _ = EMBER_RENDERER.encode_text(rendered)
    assert list(encoded.ids[: encoded.answers[-1].start]) == prompt


def greedy_renderer(template: str) -> Renderer:
    """A tokenizer that merges across every edge it can: it has tokens for answers with what stands around."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(["A: yes;", "A: no;"] * 50, trainer=trainer)
    stop = tokenizer.token_to_id(";")
    return Renderer(ChatTemplate(template, eos_token=";"), tokenizer, frozenset({stop}), 100)


MARKED = (
    "{% for m in messages %}"
    "{% if m.role == 'assistant' %}A: {% generation %}{{ m.content }};{% endgeneration %}"
    "{% else %}Q: {{ m.content }}\n{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}A: {% endif %}"
)


def test_no_token_reaches_across_the_edge_of_an_answer() -> None:
    renderer = greedy_renderer(MARKED)
    assert len(renderer.tokenizer.encode("A: yes;").ids) < len(renderer.tokenizer.encode("A: ").ids) + 4
    assert spoken(renderer, row("x", "yes").messages + row("y", "no").messages) == ["yes;", "no;"]


def test_a_template_that_drops_earlier_answers_is_noticed() -> None:
    last_only = MARKED.replace("m.role == 'assistant'", "m.role == 'assistant' and loop.last")
    assert not greedy_renderer(last_only).keeps_history()
    assert greedy_renderer(MARKED).keeps_history()
    assert EMBER_RENDERER.keeps_history()


def test_a_template_without_answers_or_stop_token_is_refused() -> None:
    example = row("x", "yes", "e1")
    assert greedy_renderer(MARKED).check_example(example).answers
    with pytest.raises(BadModel, match="no tokens"):
        greedy_renderer(MARKED.replace("{{ m.content }};", "")).check_example(example)
    with pytest.raises(BadModel, match="stop token"):
        greedy_renderer(
            MARKED.replace("{{ m.content }};{% endgeneration %}", "{{ m.content }}{% endgeneration %};")
        ).check_example(example)


def test_a_row_that_cannot_be_learned_is_refused_by_name() -> None:
    for messages in (
        (Message("user", "q"),),
        (Message("assistant", "a"),),
        row("q", "").messages,
        (*row("q", "a").messages, Message("user", "and?")),
    ):
        with pytest.raises(InvalidRequest, match="e1"):
            EMBER_RENDERER.check_example(TrainingRow(messages, "e1"))
    with pytest.raises(ContextOverflow, match="2048") as caught:
        EMBER_RENDERER.check_example(row("q", "x" * 4000, "e1"))
    assert caught.value.details["limit"] == 2048


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("tokenizer.json", b"{"),
        ("tokenizer.json", None),
        ("config.json", b"[]"),
        ("config.json", b"{}"),
        ("chat_template.jinja", None),
        ("chat_template.jinja", b"{% if %}"),
    ],
)
def test_a_broken_model_folder_is_refused(tmp_path: Path, name: str, content: bytes | None) -> None:
    folder = shutil.copytree(EMBER, tmp_path / "model")
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content)
    with pytest.raises(BadModel):
        load_renderer(folder)


def test_a_tokenizer_that_asks_for_cutting_is_not_obeyed(tmp_path: Path) -> None:
    folder = shutil.copytree(EMBER, tmp_path / "model")
    settings = json.loads((folder / "tokenizer.json").read_text())
    settings["truncation"] = {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0}
    (folder / "tokenizer.json").write_text(json.dumps(settings))
    messages = row("q", "a long answer").messages
    assert load_renderer(folder).encode(messages) == EMBER_RENDERER.encode(messages)


def test_a_template_with_a_date_renders_the_same_on_another_day(tmp_path: Path) -> None:
    folder = shutil.copytree(EMBER, tmp_path / "dated")
    template = folder / "chat_template.jinja"
    template.write_text("{{ strftime_now('%d %b %Y') }}\n" + template.read_text())
    messages = [Message("user", "Hello"), Message("assistant", "Hi.")]
    day_s = 86_400.0
    first, again, other = (load_renderer(folder, at_s=at_s) for at_s in (0.0, 60.0, 40 * day_s))
    assert first.encode(messages) == again.encode(messages)
    assert first.encode(messages) != other.encode(messages)


def test_an_answer_ends_at_every_token_that_any_file_of_the_model_names(tmp_path: Path) -> None:
    tokenizer: Any = SimpleNamespace(token_to_id={"<end>": 7}.get)
    assert render._stop_ids(tmp_path, {}, tokenizer, {}) == frozenset()
    assert render._stop_ids(tmp_path, {}, tokenizer, {"eos_token": "<end>"}) == {7}
    assert render._stop_ids(tmp_path, {"eos_token_id": 3}, tokenizer, {"eos_token": "<other>"}) == {3}
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": [4, 5]}')
    assert render._stop_ids(tmp_path, {"eos_token_id": 3}, tokenizer, {"eos_token": "<end>"}) == {3, 4, 5, 7}
