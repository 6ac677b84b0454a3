"""`tokenizer.json` read for conversion: vocabulary, merges, special tokens, and which splitting rule it uses.

llama.cpp knows splitting rules ("pre-tokenizers") by name only, so the rule in the file must be one of those
we can name exactly; anything else is BadModel, because a tokenizer that is nearly right makes a model that
is quietly wrong. Pure; no tokenizer library.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from homefire.errors import BadModel, quoted

MAX_JSON_BYTES = 128 << 20
"""The longest tokenizers that are in use have 35 MB."""
MAX_TEMPLATE_BYTES = 1 << 20
NORMAL, CONTROL, USER_DEFINED, UNUSED = 1, 3, 4, 5
"""Token types of GGUF (`gguf.TokenType`)."""

_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_SPLIT_RULES = {
    (_WORDS + r"\p{N}" + _REST, False): "qwen2",
    (_WORDS + r"\p{N}{1,3}" + _REST, True): "llama-bpe",
    (_WORDS + r"\p{N}{1,3}" + _REST, False): "smaug-bpe",
}
"""(regular expression, whether whole words skip the merges) -> llama.cpp's name for the pair."""


@dataclass(frozen=True, slots=True)
class TokenizerData:
    """What GGUF holds of a tokenizer. Ids index `tokens`; None where the model has no such token."""

    tokens: tuple[str, ...]
    types: tuple[int, ...]
    merges: tuple[str, ...]
    pre_tokenizer: str
    normalizer: str
    """`` or `NFC`: applied by our worker, llama.cpp has none."""
    bos_id: int | None
    pad_id: int | None
    unk_id: int | None
    stop_ids: tuple[int, ...]
    add_bos: bool
    chat_template: str | None


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a model folder; BadModel when the file is missing, too long or no object."""
    try:
        value = json.loads(read_small_file(path, max_bytes=MAX_JSON_BYTES))
    except FileNotFoundError as error:
        raise BadModel(f"The model folder has no {path.name}.", file=str(path)) from error
    except (ValueError, RecursionError) as error:
        raise BadModel(f"{path.name} is not JSON: {error}.", file=str(path)) from error
    if not isinstance(value, dict):
        raise BadModel(f"{path.name} holds no JSON object.", file=str(path))
    return value


def read_optional_json(path: Path) -> dict[str, Any]:
    """Like `read_json`, and empty when the file does not exist."""
    return read_json(path) if path.exists() else {}


def read_small_file(path: Path, *, max_bytes: int) -> bytes:
    """The bytes of a regular file. FileNotFoundError; BadModel for a device, a folder, and what is too long."""
    if path.exists() and not path.is_file():
        raise BadModel(f"{path.name} is not a regular file.", file=str(path))
    with path.open("rb") as file:
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise BadModel(f"{path.name} is longer than {max_bytes >> 20} MiB.", file=str(path))
    return data


def read_chat_template(folder: Path) -> str | None:
    """The template from `chat_template.jinja` or `tokenizer_config.json`; None when there is none."""
    own_file = folder / "chat_template.jinja"
    if own_file.exists():
        try:
            return read_small_file(own_file, max_bytes=MAX_TEMPLATE_BYTES).decode()
        except UnicodeDecodeError as error:
            raise BadModel(f"{own_file.name} is not UTF-8: {error}.", file=str(own_file)) from error
    template = read_optional_json(folder / "tokenizer_config.json").get("chat_template")
    if isinstance(template, list):
        template = next(
            (
                item.get("template")
                for item in template
                if isinstance(item, dict) and item.get("name") == "default"
            ),
            None,
        )
    return template if isinstance(template, str) else None


def read_special_tokens(folder: Path) -> dict[str, str]:
    """`bos_token`, `eos_token`, `pad_token`, `unk_token` as text, where the tokenizer states them."""
    config = read_optional_json(folder / "tokenizer_config.json")
    found: dict[str, str] = {}
    for key in ("bos_token", "eos_token", "pad_token", "unk_token"):
        value = config.get(key)
        text = value.get("content") if isinstance(value, dict) else value
        if isinstance(text, str):
            found[key] = text
    return found


def read_control_tokens(folder: Path) -> frozenset[str]:
    """The texts that this folder's tokenizer takes for control tokens, such as `<|im_end|>`."""
    added = read_json(folder / "tokenizer.json").get("added_tokens")
    return frozenset(
        str(token["content"])
        for token in (added if isinstance(added, list) else [])
        if isinstance(token, dict) and token.get("special") and token.get("content")
    )


def read_tokenizer(folder: Path, *, vocab_size: int) -> TokenizerData:
    """Everything of a folder's tokenizer; `vocab_size` rows of the embedding are to be named."""
    try:
        return _read_tokenizer(folder, vocab_size=vocab_size)
    except (AttributeError, TypeError, LookupError, ValueError, ArithmeticError) as error:
        raise BadModel(
            f"tokenizer.json, or a file beside it, is not built as one should be: {error}.",
            hint="Fetch the files of the tokenizer again.",
            file=str(folder / "tokenizer.json"),
        ) from error


def _read_tokenizer(folder: Path, *, vocab_size: int) -> TokenizerData:
    tokenizer = read_json(folder / "tokenizer.json")
    model = tokenizer.get("model") or {}
    if model.get("type") != "BPE" or not isinstance(model.get("vocab"), dict):
        raise BadModel(
            f"A tokenizer of the kind {quoted(model.get('type'))} is not converted; byte-level BPE is."
        )
    if model.get("byte_fallback"):
        raise BadModel(
            "This is a SentencePiece tokenizer (as in Llama 2 and Mistral), which is not converted; "
            "byte-level BPE is (Llama 3, Qwen).",
            hint="Add the model as a GGUF file instead.",
        )
    vocab: dict[str, int] = model["vocab"]
    added = [item for item in tokenizer.get("added_tokens") or [] if isinstance(item, dict)]
    tokens, types = _name_rows(vocab, added, vocab_size)
    ids = {**vocab, **{item["content"]: item["id"] for item in added}}
    special = {key: ids.get(text) for key, text in read_special_tokens(folder).items()}
    add_bos, bos_id = _leading_token(tokenizer, ids, special.get("bos_token"))
    config = read_optional_json(folder / "tokenizer_config.json")
    return TokenizerData(
        tokens=tokens,
        types=types,
        merges=tuple(_merge_text(merge) for merge in model.get("merges") or []),
        pre_tokenizer=_name_split_rule(tokenizer, ignore_merges=bool(model.get("ignore_merges"))),
        normalizer=_name_normalizer(tokenizer.get("normalizer")),
        bos_id=bos_id,
        pad_id=special.get("pad_token"),
        unk_id=special.get("unk_token"),
        stop_ids=_stop_ids(folder, special.get("eos_token")),
        add_bos=bool(config.get("add_bos_token", add_bos)) if bos_id is not None else False,
        chat_template=read_chat_template(folder),
    )


def _name_rows(
    vocab: Mapping[str, int], added: list[dict[str, Any]], vocab_size: int
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    tokens = [f"[PAD{index}]" for index in range(vocab_size)]
    types = [UNUSED] * vocab_size
    rows = [(text, index, NORMAL) for text, index in vocab.items()]
    rows += [
        (item["content"], item["id"], CONTROL if item.get("special") else USER_DEFINED) for item in added
    ]
    for text, index, kind in rows:
        if not 0 <= index < vocab_size:
            raise BadModel(
                f"Token {quoted(text)} has the id {index}, beyond the model's vocabulary of {vocab_size}."
            )
        tokens[index], types[index] = text, kind
    return tuple(tokens), tuple(types)


def _merge_text(merge: Any) -> str:
    return merge if isinstance(merge, str) else " ".join(merge)


def _name_split_rule(tokenizer: Mapping[str, Any], *, ignore_merges: bool) -> str:
    rule = tokenizer.get("pre_tokenizer") or {}
    steps = rule.get("pretokenizers", []) if rule.get("type") == "Sequence" else [rule]
    kinds = [step.get("type") for step in steps]
    byte_level = steps[-1] if kinds and kinds[-1] == "ByteLevel" else None
    if byte_level is not None and not byte_level.get("add_prefix_space"):
        if kinds == ["Split", "ByteLevel"] and not byte_level.get("use_regex", True):
            pattern = str((steps[0].get("pattern") or {}).get("Regex"))
            name = _SPLIT_RULES.get((pattern, ignore_merges))
            if name and steps[0].get("behavior") == "Isolated" and not steps[0].get("invert"):
                return name
        if byte_level.get("use_regex", True) and not ignore_merges:
            if kinds == ["ByteLevel"]:
                return "gpt-2"
            if kinds == ["Digits", "ByteLevel"] and steps[0].get("individual_digits"):
                return "smollm"
    raise BadModel(
        "The engine has no name for this tokenizer's way of splitting text, so it would read differently.",
        hint="Add the model as a GGUF file made by its authors.",
        pre_tokenizer=json.dumps(rule)[:500],
    )


def _name_normalizer(normalizer: Any) -> str:
    if not normalizer:
        return ""
    steps = normalizer.get("normalizers", []) if normalizer.get("type") == "Sequence" else [normalizer]
    kinds = [step.get("type") for step in steps]
    if kinds == ["NFC"]:
        return "NFC"
    if not kinds:
        return ""
    raise BadModel(f"The tokenizer's normalizer ({', '.join(map(str, kinds))}) is not known to the engine.")


def _leading_token(
    tokenizer: Mapping[str, Any], ids: Mapping[str, int], bos_id: int | None
) -> tuple[bool, int | None]:
    """Whether raw text is to begin with a token, and which: from the post-processor's template."""
    processor = tokenizer.get("post_processor") or {}
    steps = processor.get("processors", []) if processor.get("type") == "Sequence" else [processor]
    for step in steps:
        if step.get("type") == "TemplateProcessing" and step.get("single"):
            first = step["single"][0].get("SpecialToken")
            if first:
                return True, ids.get(first["id"], bos_id)
    return False, bos_id


def _stop_ids(folder: Path, eos_id: int | None) -> tuple[int, ...]:
    """Tokens that end an answer, the tokenizer's own first (it is the one the chat template writes)."""
    found = [] if eos_id is None else [eos_id]
    for name in ("generation_config.json", "config.json"):
        value = read_optional_json(folder / name).get("eos_token_id")
        found += value if isinstance(value, list) else [] if value is None else [value]
    return tuple(dict.fromkeys(int(index) for index in found))
