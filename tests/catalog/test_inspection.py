"""Whatever a model's folder holds, looking at it ends soon, with a model or a typed error that names the file."""

from __future__ import annotations

import json
import os
import random
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from homefire.catalog import inspection
from homefire.catalog.catalog import Catalog
from homefire.catalog.convert import convert
from homefire.catalog.inspect import inspect_path
from homefire.catalog.inspection import inspect_model, read_template
from homefire.errors import BadModel
from homefire.home import Home
from tests.catalog.test_inspect import edit_header, edit_json
from tests.engines.support import ember_folder


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two seconds instead of thirty."""
    monkeypatch.setattr(inspection, "CPU_S", 2)
    monkeypatch.setattr(inspection, "MEMORY_BYTES", 512 << 20)


LOOP = "{% for a in range(99999) %}{% for b in range(99999) %}{{ a }}{% endfor %}{% endfor %}"


def endless_template(folder: Path) -> None:
    (folder / "chat_template.jinja").write_text(LOOP)


def huge_constant(folder: Path) -> None:
    (folder / "chat_template.jinja").write_text("{{ 'x' * 100000000000 }}{{ 10 ** 1000000000 }}")


def deep_template(folder: Path) -> None:
    (folder / "chat_template.jinja").write_text("{% if x %}" * 3000 + "{% endif %}" * 3000)


def deep_expression(folder: Path) -> None:
    (folder / "chat_template.jinja").write_text("{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}")


def endless_file(folder: Path) -> None:
    (folder / "chat_template.jinja").unlink()
    (folder / "chat_template.jinja").symlink_to("/dev/zero")


def endless_settings(folder: Path) -> None:
    (folder / "tokenizer_config.json").unlink()
    (folder / "tokenizer_config.json").symlink_to("/dev/zero")


def pipe(folder: Path) -> None:
    (folder / "tokenizer_config.json").unlink()
    os.mkfifo(folder / "tokenizer_config.json")


def many_layers(folder: Path) -> None:
    edit_json(folder / "config.json", num_hidden_layers=10**12)


def endless_layers(folder: Path) -> None:
    text = (folder / "config.json").read_text()
    layers = json.loads(text)["num_hidden_layers"]
    (folder / "config.json").write_text(
        text.replace(f'"num_hidden_layers": {layers}', '"num_hidden_layers": 1e999')
    )


def endless_vocabulary(folder: Path) -> None:
    edit_json(folder / "config.json", vocab_size=10**15)


def text_for_a_mapping(folder: Path) -> None:
    edit_json(folder / "config.json", rope_parameters="default", rope_scaling="default")


def text_for_a_pre_tokenizer(folder: Path) -> None:
    edit_json(folder / "tokenizer.json", pre_tokenizer="ByteLevel")


def tokens_without_numbers(folder: Path) -> None:
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["model"]["vocab"] = dict.fromkeys(tokenizer["model"]["vocab"], "one")
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))


def numbers_without_end(folder: Path) -> None:
    def change(header: dict[str, Any]) -> None:
        header["model.norm.weight"]["shape"] = [10**3999] * 3000

    edit_header(folder / "model.safetensors", change)


def infinite_shape(folder: Path) -> None:
    def change(header: dict[str, Any]) -> None:
        header["model.norm.weight"]["shape"] = [float("inf")]

    edit_header(folder / "model.safetensors", change)


def text_for_metadata(folder: Path) -> None:
    def change(header: dict[str, Any]) -> None:
        header["__metadata__"] = ["pt"]

    edit_header(folder / "model.safetensors", change)


def deep_json(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": ' + "[" * 100_000 + "]" * 100_000 + "}")


HARMS = [
    (endless_template, "chat template"),
    (huge_constant, "chat template"),
    (deep_template, "chat template"),
    (deep_expression, "chat template"),
    (endless_file, r"chat_template\.jinja"),
    (endless_settings, r"tokenizer_config\.json"),
    (pipe, r"tokenizer_config\.json"),
    (many_layers, r"config\.json"),
    (endless_layers, r"config\.json"),
    (endless_vocabulary, r"config\.json"),
    (text_for_a_mapping, r"config\.json"),
    (text_for_a_pre_tokenizer, r"tokenizer\.json"),
    (tokens_without_numbers, r"tokenizer\.json"),
    (numbers_without_end, r"model\.safetensors"),
    (infinite_shape, r"model\.safetensors"),
    (text_for_metadata, r"model\.safetensors"),
    (deep_json, r"config\.json"),
]


@pytest.mark.parametrize(("harm", "named"), HARMS, ids=[harm.__name__ for harm, _ in HARMS])
async def test_a_folder_made_to_do_harm_is_refused_by_the_name_of_its_file(
    catalog: Catalog, home: Home, ember_copy: Path, harm: Callable[[Path], None], named: str
) -> None:
    harm(ember_copy)
    with pytest.raises(BadModel, match=named):
        await catalog.add(ember_copy, name="harm")
    assert list(home.base_models.iterdir()) == [], "nothing of it is left"


async def test_a_device_is_no_model() -> None:
    for path in ("/dev/zero", "/dev/null"):
        with pytest.raises(BadModel):
            await inspect_model(Path(path))


async def test_a_template_is_read_as_text_however_it_is_made(ember_copy: Path) -> None:
    endless_template(ember_copy)
    text = await read_template([ember_copy])
    assert text is not None
    assert text.source == LOOP


async def test_what_says_too_much_is_refused(ember_copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspection, "MAX_OUTPUT_BYTES", 100)
    with pytest.raises(BadModel, match="says more"):
        await read_template([ember_copy])


async def test_planted_bug_a_child_without_limits_is_noticed(
    ember_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without its bound on computing, only the time on the clock ends it."""
    monkeypatch.setattr(inspection, "CPU_S", 1000)
    monkeypatch.setattr(inspection, "TIMEOUT_S", 1.0)
    endless_template(ember_copy)
    with pytest.raises(BadModel, match="longer than 1 s"):
        await inspect_model(ember_copy)


# Whatever the bytes are


NUM_SEEDS = 250
ODD_VALUES: list[Any] = [
    None, True, -1, 0, 1.5, 10**15, 10**400, float("inf"), float("nan"), "", "x", "\u0000", [], {}, [[]], {"a": 1},
    [None], "1e9", ["x"] * 50, {"type": "Sequence"}, {"type": "Sequence", "pretokenizers": [1]},
]  # fmt: skip


def places_in(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place of a JSON value that can be given another, the outer ones first."""
    inner: list[tuple[Any, ...]] = []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in list(items)[:40]:
        inner += [(*path, key), *places_in(item, (*path, key))]
    return inner


def put(value: Any, place: tuple[Any, ...], other: Any) -> None:
    for key in place[:-1]:
        value = value[key]
    value[place[-1]] = other


def spoil_json(random: random.Random, value: Any) -> Any:
    for _ in range(random.randint(1, 3)):
        places = places_in(value)
        if places:
            put(value, random.choice(places), random.choice(ODD_VALUES))
    return value


def spoil_bytes(random: random.Random, data: bytes) -> bytes:
    spoilt = bytearray(data)
    for _ in range(random.randint(1, 8)):
        if spoilt:
            spoilt[random.randrange(len(spoilt))] = random.randrange(256)
    return bytes(spoilt[: random.choice([None, None, random.randrange(len(spoilt) + 1)])])


def spoil(folder: Path, seed: int) -> None:
    """One file of a model in another state, by the seed."""
    dice = random.Random(seed)
    name = dice.choice(["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"])
    path = folder / name
    if name == "model.safetensors":
        raw = path.read_bytes()
        (length,) = struct.unpack("<Q", raw[:8])
        text = json.dumps(spoil_json(dice, json.loads(raw[8 : 8 + length]))).encode()
        if dice.random() < 0.3:
            text = spoil_bytes(dice, text)
        path.write_bytes(struct.pack("<Q", len(text)) + text + raw[8 + length :])
    elif dice.random() < 0.2:
        path.write_bytes(spoil_bytes(dice, path.read_bytes()))
    else:
        path.write_text(json.dumps(spoil_json(dice, json.loads(path.read_text()))))


def look(path: Path, *, seed: int) -> None:
    """Nothing but a refusal, and one that is the model's fault, may come of it."""
    try:
        inspect_path(path)
    except BadModel:
        return
    except Exception as error:
        raise AssertionError(f"seed {seed}: {type(error).__name__}: {error}") from error


def test_whatever_the_bytes_are_a_folder_is_a_model_or_a_typed_error(tmp_path: Path) -> None:
    """In this process, where anything else would be a traceback; the child turns those into BadModel too."""
    small = Path(shutil.copytree(ember_folder(), tmp_path / "small"))
    for seed in range(NUM_SEEDS):
        for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"):
            shutil.copy(ember_folder() / name, small / name)
        spoil(small, seed)
        look(small, seed=seed)


async def test_a_gguf_header_of_any_figures_is_a_model_or_a_typed_error(tmp_path: Path) -> None:
    convert(ember_folder(), tmp_path / "model.gguf", dtype="f16")
    sound = (tmp_path / "model.gguf").read_bytes()
    header_bytes = sound.index(b"token_embd")
    for seed in range(NUM_SEEDS):
        dice = random.Random(seed)
        data = bytearray(sound)
        for _ in range(dice.randint(1, 4)):
            data[dice.randrange(24, header_bytes)] = dice.choice([0, 1, 127, 128, 255])
        (tmp_path / "model.gguf").write_bytes(data)
        look(tmp_path / "model.gguf", seed=seed)
