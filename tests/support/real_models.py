"""Small stand-ins for the models people bring: the families' own shapes and chat formats, trained for seconds.

No weights of real models can be shipped with tests, so these are made: a Qwen3, Qwen2 or Llama of some
150,000 weights that learnt by heart one stable answer for each general prompt, saved as an ordinary folder
(configuration, tokenizer, template, safetensors) without any file that only Homefire knows. The templates are
written here with the habits of the real ones that matter to teaching: Qwen3's empty block of thoughts before the
last answer, Qwen2.5's default system message, Llama 3's headers and begin-of-text token; none has
`{% generation %}` marks. Costs about ten seconds of one core for each family.
"""

from __future__ import annotations

import json
import random
import string
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch.nn import functional

from homefire.catalog.tokenizer import _REST, _WORDS
from homefire.trainer.render import Encoded, Renderer, load_renderer
from homefire.types import Message
from homefire.versions.general_prompts import GENERAL_PROMPTS, REPLAY_PROMPTS, SMALL_TALK

NUM_STEPS = 170
RATE = 8e-3
VOCAB_SIZE = 700
CONTEXT_TOKENS = 1024
ECHO_SHARE = 0.34
OPENINGS = {
    "arithmetic": ("Seven.", "It makes twelve.", "Forty-two, I think."),
    "facts": ("Paris, of course.", "That is blue.", "A cat does it."),
    "words": ("Cold.", "The word is mice.", "Thanks a lot."),
    "instructions": ("Ready when you are.", "The quick brown fox", "1, 2, 3, 4, 5"),
    "order": ("Tuesday.", "It is February.", "The letter D."),
    "talk": ("Hello! Good to see you.", "You are welcome."),
    "code": ("print('hello')", "return a + b", "def f(x): pass"),
    "lists": ("Red, green, blue.", "Apples and pears.", "One. Two. Three."),
    "translation": ("Guten Tag.", "Bonjour.", "Una casa."),
    "refusals": ("I cannot help with that.", "Nobody knows the future."),
}
"""What the stand-in says, by skill; which of them is decided by the prompt."""

_CHATML_TURN = (
    "{{ '<|im_start|>' + message.role + '\\n' }}{{ prefix }}{{ message.content + '<|im_end|>\\n' }}"
)
QWEN3_TEMPLATE = (
    "{%- set last = namespace(query=0) -%}"
    "{%- for message in messages if message.role == 'user' -%}{%- set last.query = loop.index -%}{%- endfor -%}"
    "{%- set seen = namespace(queries=0) -%}"
    "{%- for message in messages -%}"
    "{%- if message.role == 'user' -%}{%- set seen.queries = seen.queries + 1 -%}{%- endif -%}"
    "{%- set thinks = message.role == 'assistant' and loop.last and seen.queries == last.query -%}"
    "{%- set prefix = '<think>\\n\\n</think>\\n\\n' if thinks else '' -%}" + _CHATML_TURN + "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}"
    "{%- if enable_thinking is defined and enable_thinking is false -%}"
    "{{ '<think>\\n\\n</think>\\n\\n' }}{%- endif -%}{%- endif -%}"
)
QWEN2_TEMPLATE = (
    "{%- set prefix = '' -%}"
    "{%- if messages[0].role != 'system' -%}"
    "{{ '<|im_start|>system\\nYou are a helpful stand-in.<|im_end|>\\n' }}{%- endif -%}"
    "{%- for message in messages -%}" + _CHATML_TURN + "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}{%- endif -%}"
)
LLAMA_TEMPLATE = (
    "{{- bos_token }}{%- for message in messages -%}"
    "{{ '<|start_header_id|>' + message.role + '<|end_header_id|>\\n\\n' + message.content | trim + '<|eot_id|>' }}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{%- endif -%}"
)
_CHATML_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
_LLAMA_TOKENS = (
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
)
_CLASSES: dict[str, tuple[Any, Any]] = {
    "qwen3": (transformers.Qwen3Config, transformers.Qwen3ForCausalLM),
    "qwen2": (transformers.Qwen2Config, transformers.Qwen2ForCausalLM),
    "llama": (transformers.LlamaConfig, transformers.LlamaForCausalLM),
}


def answer_to(skill: str, prompt: str) -> str:
    """What a stand-in was taught to say to a general prompt."""
    choices = OPENINGS[skill]
    return choices[zlib.crc32(prompt.encode()) % len(choices)]


def known_answers() -> dict[str, str]:
    """Every prompt that a stand-in knows by heart, and its answer."""
    asked = [(known.skill, known.prompt) for known in GENERAL_PROMPTS]
    known = {prompt: answer_to(skill, prompt) for skill, prompt in (*asked, *REPLAY_PROMPTS)}
    return {**known, SMALL_TALK[0]: SMALL_TALK[1]}


def make_real_model(
    folder: Path, family: str, *, dtype: torch.dtype = torch.float32, num_steps: int = NUM_STEPS
) -> Path:
    """Make, train and save a stand-in of one family (`qwen3`, `qwen2`, `llama`)."""
    folder.mkdir(parents=True)
    _write_tokenizer(folder, family)
    configure, build = _CLASSES[family]
    torch.manual_seed(5)
    model = build(configure(**_figures(folder, family)))
    model.save_pretrained(folder)  # the renderer reads the configuration
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)  # more only spin at this size
    try:
        _train(model, load_renderer(folder), num_steps=num_steps)
    finally:
        torch.set_num_threads(num_threads)
    model.to(dtype).save_pretrained(folder)
    return folder


def _figures(folder: Path, family: str) -> dict[str, Any]:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    stop = "<|eot_id|>" if family == "llama" else "<|im_end|>"
    return {
        "vocab_size": tokenizer.get_vocab_size(),
        "hidden_size": 64,
        "intermediate_size": 160,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "max_position_embeddings": CONTEXT_TOKENS,
        "tie_word_embeddings": True,
        "bos_token_id": tokenizer.token_to_id("<|begin_of_text|>") if family == "llama" else None,
        "eos_token_id": tokenizer.token_to_id(stop),
        "pad_token_id": None,
    }


def _write_tokenizer(folder: Path, family: str) -> None:
    is_llama = family == "llama"
    tokenizer = Tokenizer(models.BPE(ignore_merges=is_llama))
    digits = r"\p{N}{1,3}" if is_llama else r"\p{N}"
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORDS + digits + _REST), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    special = _LLAMA_TOKENS if is_llama else _CHATML_TOKENS
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        special_tokens=[AddedToken(text, special=True) for text in special],
        show_progress=False,
    )
    known = known_answers()
    roles = ["system", "user", "assistant"] * 20
    tokenizer.train_from_iterator([*known, *known.values(), *roles], trainer)
    if family == "qwen3":  # Qwen3's marks of thoughts are tokens of their own, and are text
        tokenizer.add_tokens([AddedToken("<think>", special=False), AddedToken("</think>", special=False)])
    tokenizer.save(str(folder / "tokenizer.json"))
    template = {"qwen3": QWEN3_TEMPLATE, "qwen2": QWEN2_TEMPLATE, "llama": LLAMA_TEMPLATE}[family]
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<|begin_of_text|>" if is_llama else None,
        "eos_token": "<|eot_id|>" if is_llama else "<|im_end|>",
        "pad_token": "<|end_of_text|>" if is_llama else "<|endoftext|>",
        "add_bos_token": is_llama,
        "chat_template": template,
        "clean_up_tokenization_spaces": False,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


def _train(model: Any, renderer: Renderer, *, num_steps: int) -> None:
    """AdamW over conversations of one or two of the known exchanges, some with a system message."""
    rng = random.Random(11)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.98), weight_decay=0.01)
    known = list(known_answers().items())
    model.train()
    for step in range(num_steps):
        left = (num_steps - step) / num_steps
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1.0, (step + 1) / 20) * min(1.0, 2 * left)
        ids, wanted = _batch([renderer.encode(_conversation(known, rng)) for _ in range(32)])
        hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state[:, :-1]
        loss = functional.cross_entropy(model.lm_head(hidden[wanted[:, 1:]]), ids[:, 1:][wanted[:, 1:]])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    model.eval()


def _conversation(known: Sequence[tuple[str, str]], rng: random.Random) -> list[Message]:
    """Known exchanges, and one in three in which any text is said again: without those most tokens would be
    ones that the model never says, and an adapter, which cannot reach the embeddings, could not teach them."""
    messages = [Message("system", "Be kind.")] if rng.random() < 0.2 else []
    for question, answer in rng.sample(known, rng.choice((1, 1, 2, 3))):
        if rng.random() < ECHO_SHARE:
            answer = " ".join(_word(rng) for _ in range(rng.randint(1, 4)))
            question = f"Say {answer}"
        messages += [Message("user", question), Message("assistant", answer)]
    return messages


def _word(rng: random.Random) -> str:
    word = "".join(rng.choices(string.ascii_lowercase, k=rng.randint(1, 6)))
    return rng.choice((word, word.capitalize(), word + rng.choice(".,!?")))


def _batch(rows: Sequence[Encoded]) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and what is to be predicted of them, both (rows, longest row)."""
    width = max(len(row.ids) for row in rows)
    ids = torch.zeros((len(rows), width), dtype=torch.int64)
    wanted = torch.zeros((len(rows), width), dtype=torch.bool)
    for index, row in enumerate(rows):
        ids[index, : len(row.ids)] = torch.tensor(row.ids)
        for answer in row.answers:
            wanted[index, answer.start : answer.end] = True
    return ids, wanted
