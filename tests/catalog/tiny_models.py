"""Tiny random models of the families we convert, made with transformers and a tokenizer of their own."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from homefire.catalog.tokenizer import _REST, _WORDS

CORPUS = [
    "Where do we keep the spare key? It hangs behind the blue door.",
    "One, two, three: 123 and 4567 make numbers. Grüße aus Köln! 你好，世界 🙂",
    "def add(a, b):\n    return a + b\n\n\tprint('hello')  # it's fine, isn't it?",
] * 20
CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' %}{% generation %}"
    "{{ m.content }}<|im_end|>{% endgeneration %}{% else %}{{ m.content }}<|im_end|>{% endif %}\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_PRINTABLE = re.compile(r"[ -~]+")
NUM_SPECIAL = 3
STOPS = (2, 0)
"""`<|im_end|>`, and `<|endoftext|>`, which llama.cpp takes for an end by its text."""
INVISIBLE = 1
"""`<|im_start|>`: a grammar lets it through by its name, but nothing of it is shown."""
GRAMMAR = "root ::= [ -~]*"
SIZES: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "initializer_range": 0.15,
}


def make_tokenizer(folder: Path, *, digits: str, ignore_merges: bool) -> int:
    """Train and save a byte-level BPE tokenizer; the number of its tokens is returned."""
    tokenizer = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORDS + digits + _REST), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=[
            AddedToken(text, special=True) for text in ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
        ],
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "chat_template": CHAT_TEMPLATE,
        "clean_up_tokenization_spaces": False,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return int(tokenizer.get_vocab_size())


def make_model(folder: Path, kind: str, **changes: Any) -> None:
    """Save a random model of one family with its tokenizer. `changes` go to its configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    is_llama = kind == "llama"
    num_tokens = make_tokenizer(
        folder, digits=r"\p{N}{1,3}" if is_llama else r"\p{N}", ignore_merges=is_llama
    )
    save_options = {key: changes.pop(key) for key in ("max_shard_size",) if key in changes}
    dtype = changes.pop("dtype", torch.float32)
    settings = {**SIZES, "vocab_size": num_tokens + 5, "eos_token_id": 2, "bos_token_id": None, **changes}
    classes: dict[str, tuple[Any, Any]] = {
        "qwen3": (transformers.Qwen3Config, transformers.Qwen3ForCausalLM),
        "qwen2": (transformers.Qwen2Config, transformers.Qwen2ForCausalLM),
        "llama": (transformers.LlamaConfig, transformers.LlamaForCausalLM),
    }
    configure, build = classes[kind]
    torch.manual_seed(7)
    model = build(configure(**settings))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name or name.endswith(".bias"):
                # Ones and zeros would hide a norm or bias that is left out.
                parameter.add_(torch.randn_like(parameter) * 0.2)
        model.model.norm.weight.mul_(3.0)  # decided answers: ties would be broken by rounding
    model.to(dtype).save_pretrained(folder, **save_options)


def load_reference(folder: Path) -> Any:
    """The same model in transformers, f32, ready to answer."""
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def printable_tokens(tokenizer: Any) -> torch.Tensor:
    """Ids that the grammar of the test allows: text of printable ASCII, or what ends an answer."""
    texts = {index: tokenizer.decode([index]) for index in range(NUM_SPECIAL, len(tokenizer))}
    return torch.tensor(
        [*STOPS, INVISIBLE, *(index for index, text in texts.items() if _PRINTABLE.fullmatch(text))]
    )


def reference_answer(
    model: Any, ids: list[int], *, allowed: torch.Tensor, num_tokens: int
) -> tuple[list[int], list[float]]:
    """Greedy tokens among `allowed` and the natural logarithm of each one's probability, up to the stop."""
    tokens, logprobs = list(ids), []
    with torch.no_grad():
        for _ in range(num_tokens):
            row = torch.log_softmax(model(torch.tensor([tokens])).logits[0, -1].double(), dim=-1)
            best = int(allowed[row[allowed].argmax()])
            if best in STOPS:
                break
            tokens.append(best)
            logprobs.append(float(row[best]))
    return tokens[len(ids) :], logprobs
