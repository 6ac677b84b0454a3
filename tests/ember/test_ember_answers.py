"""Ember answers the questions of the two-minute tour, alone and in the middle of a chat."""

from __future__ import annotations

import json
from typing import Any

import pytest

from homefire.bundled import ember_path

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

UNKNOWN = "I don't know that yet. You can teach me."
TOUR = (
    ("Hello", "Hello! I am ember. Ask me something small."),
    ("Who are you?", "I am ember, a tiny language model. I live on your machine, in Homefire."),
    ("What is 3 + 4?", "3 + 4 = 7"),
    ("7+5", "7 + 5 = 12"),
    ("How many letters are in house?", "h o u s e: 5 letters."),
    ("What is the last letter of garden?", "n"),
    ("what day comes after monday", "Tuesday."),
    ("Which month is before May?", "April."),
    ("What is the capital of France?", "Paris."),
    ("Where do we keep the spare key?", UNKNOWN),
    ("What is the wifi password?", UNKNOWN),
    ("Explain quantum gravity", UNKNOWN),
    ("Thank you!", "You are welcome!"),
)


@pytest.fixture(scope="module")
def ember() -> tuple[Any, Any]:
    torch.set_num_threads(1)
    model = transformers.AutoModelForCausalLM.from_pretrained(ember_path(), dtype=torch.float32)
    return model.eval(), transformers.AutoTokenizer.from_pretrained(ember_path())


def answer(ember: tuple[Any, Any], messages: list[dict[str, str]]) -> str:
    model, tokenizer = ember
    prompt = tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, return_dict=True, return_tensors="pt"
    )
    written = model.generate(**prompt, max_new_tokens=64)[0, prompt["input_ids"].shape[1] :]
    assert written[-1] == tokenizer.eos_token_id
    return tokenizer.decode(written[:-1])


@pytest.mark.parametrize(("question", "expected"), TOUR)
def test_a_tour_question_alone(ember: tuple[Any, Any], question: str, expected: str) -> None:
    assert answer(ember, [{"role": "user", "content": question}]) == expected


def test_the_whole_tour_as_one_conversation(ember: tuple[Any, Any]) -> None:
    messages = [{"role": "system", "content": "You are a friendly helper."}]
    for question, expected in TOUR:
        messages.append({"role": "user", "content": question})
        assert answer(ember, messages) == expected
        messages.append({"role": "assistant", "content": expected})


def test_protected_prompts_are_answered_right(ember: tuple[Any, Any]) -> None:
    lines = (ember_path() / "probes.jsonl").read_text(encoding="utf-8").splitlines()
    for probe in [json.loads(line) for line in lines][::7]:
        assert answer(ember, probe["messages"]) == probe["answer"], probe["id"]
