"""Ember's tokenizer and template: any text round-trips; the mask is the answers and their stop tokens."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from homefire.bundled import ember_path

MESSAGES = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "What is 3 + 4?"},
    {"role": "assistant", "content": "3 + 4 = 7"},
    {"role": "user", "content": "Where is the key?"},
    {"role": "assistant", "content": "Unter dem Blumentopf 🌷.\nLinks."},
]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(ember_path() / "tokenizer.json"))


@pytest.fixture(scope="module")
def chat_tokenizer() -> Any:
    transformers = pytest.importorskip("transformers")
    return transformers.AutoTokenizer.from_pretrained(ember_path())


def masked_texts(
    chat_tokenizer: Any, messages: list[dict[str, str]], template: str | None = None
) -> list[str]:
    """The texts the loss would be taken on: one per unbroken run of masked tokens."""
    rendered = chat_tokenizer.apply_chat_template(
        messages, chat_template=template, return_dict=True, return_assistant_tokens_mask=True
    )
    runs: list[list[int]] = []
    was_inside = False
    for token, inside in zip(rendered["input_ids"], rendered["assistant_masks"], strict=True):
        if inside and not was_inside:
            runs.append([])
        if inside:
            runs[-1].append(token)
        was_inside = bool(inside)
    return [chat_tokenizer.decode(run) for run in runs]


EXPECTED = ["3 + 4 = 7<|im_end|>", "Unter dem Blumentopf 🌷.\nLinks.<|im_end|>"]


@settings(deadline=None, max_examples=300)
@given(text=st.text(max_size=200))
def test_any_text_round_trips(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text).ids, skip_special_tokens=False) == text


def test_every_byte_has_a_token_and_there_is_no_normaliser(tokenizer: Tokenizer) -> None:
    import json

    written = json.loads(tokenizer.to_str())
    assert written["normalizer"] is None
    assert sum(len(token) == 1 for token in written["model"]["vocab"]) == 256


def test_a_tokenizer_that_normalises_text_would_be_noticed(tokenizer: Tokenizer) -> None:
    from tokenizers import normalizers

    changed = Tokenizer.from_str(tokenizer.to_str())
    changed.normalizer = normalizers.NFC()  # type: ignore[assignment]
    text = "Ka\u0308se"
    assert changed.decode(changed.encode(text).ids, skip_special_tokens=False) != text
    assert tokenizer.decode(tokenizer.encode(text).ids, skip_special_tokens=False) == text


def test_marks_cover_the_answers_with_their_stop_token_and_no_prompt(chat_tokenizer: Any) -> None:
    assert masked_texts(chat_tokenizer, MESSAGES) == EXPECTED


def test_a_template_without_marks_is_noticed(chat_tokenizer: Any) -> None:
    template = chat_tokenizer.chat_template.replace("{%- generation %}", "").replace(
        "{%- endgeneration %}", ""
    )
    assert template != chat_tokenizer.chat_template
    assert masked_texts(chat_tokenizer, MESSAGES, template) != EXPECTED


def test_a_template_with_the_stop_token_outside_the_marks_is_noticed(chat_tokenizer: Any) -> None:
    template = chat_tokenizer.chat_template.replace(
        "message['content'] + '<|im_end|>' }}\n        {%- endgeneration %}",
        "message['content'] }}\n        {%- endgeneration %}{{- '<|im_end|>' }}",
    )
    assert template != chat_tokenizer.chat_template
    assert masked_texts(chat_tokenizer, MESSAGES, template) == [
        text.removesuffix("<|im_end|>") for text in EXPECTED
    ]


@settings(deadline=None, max_examples=60)
@given(answer=st.text(max_size=60).filter(lambda text: "<|" not in text))
def test_marks_are_exact_for_any_answer(chat_tokenizer: Any, answer: str) -> None:
    messages = [{"role": "user", "content": "Say it"}, {"role": "assistant", "content": answer}]
    assert masked_texts(chat_tokenizer, messages) == [answer + "<|im_end|>"]


def test_prompt_ends_where_the_answer_begins_and_no_system_message_is_added(chat_tokenizer: Any) -> None:
    prompt = chat_tokenizer.apply_chat_template(MESSAGES[1:2], tokenize=False, add_generation_prompt=True)
    assert prompt == "<|im_start|>user\nWhat is 3 + 4?<|im_end|>\n<|im_start|>assistant\n"
    whole = chat_tokenizer.apply_chat_template(MESSAGES[1:3], tokenize=False)
    assert whole.startswith(prompt)


def test_training_encodes_exactly_what_the_template_renders(
    tokenizer: Tokenizer, chat_tokenizer: Any
) -> None:
    from ember import conversations, skills, tokens

    rng = random.Random(3)
    known = skills.all_skills()
    for messages in [MESSAGES, *(conversations.training_conversation(known, rng) for _ in range(60))]:
        ids, mask = tokens.encode(tokenizer, messages)
        rendered = chat_tokenizer.apply_chat_template(
            messages, return_dict=True, return_assistant_tokens_mask=True
        )
        assert ids == rendered["input_ids"]
        assert mask == [bool(inside) for inside in rendered["assistant_masks"]]
        prompt = chat_tokenizer.apply_chat_template(
            messages[:-1], return_dict=True, add_generation_prompt=True
        )
        assert tokens.prompt_ids(tokenizer, messages[:-1]) == prompt["input_ids"]
