"""What the exam of ember calls a lead."""

from __future__ import annotations

import json

import pytest

from homefire.bundled import ember_path

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from tokenizers import Tokenizer  # noqa: E402

from ember import exam, shelf  # noqa: E402


def leads_and_grades(answers: list[tuple[str, str]]) -> list[tuple[float, bool]]:
    folder = ember_path()
    model = transformers.Qwen3ForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    asked = [
        [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        for question, answer in answers
    ]
    leads = exam.leads(model, tokenizer, asked)
    return list(zip(leads, exam.grade(model, tokenizer, asked), strict=True))


def test_a_lead_is_positive_exactly_where_greedy_decoding_writes_the_answer() -> None:
    found = leads_and_grades(
        [
            ("What is the capital of France?", "Paris."),
            ("What is the capital of France?", "Paris"),
            ("What is the capital of France?", "Rome."),
            ("What is 2 + 2?", "2 + 2 = 4"),
            ("What is 2 + 2?", "2 + 2 = 5"),
            ("Spell house", "h o u s e"),
        ]
    )
    assert [lead > 0 for lead, _ in found] == [right for _, right in found]
    assert [right for _, right in found] == [True, False, False, True, False, True]


def test_protected_prompts_lead_by_what_the_card_says() -> None:
    model = transformers.Qwen3ForCausalLM.from_pretrained(ember_path(), dtype=torch.float32)
    tokenizer = Tokenizer.from_file(str(ember_path() / "tokenizer.json"))
    lines = (ember_path() / "probes.jsonl").read_text(encoding="utf-8").splitlines()
    asked = [
        [*probe["messages"], {"role": "assistant", "content": probe["answer"]}]
        for probe in map(json.loads, lines[::7])
    ]
    assert min(exam.leads(model, tokenizer, asked)) > shelf.MIN_LEAD - 0.01
