"""What a model on disk is, and whether it is whole and harmless: `python -m homefire.catalog.inspect …`.

Runs as a child process of the server (`inspection.py`), with bounds on time, memory and output, because what is
read was written by a stranger: a file can ask for any amount of work. Refuses pickle (UnsafeModel), and what is
broken, incomplete, leads out of its folder, or has a chat template that does not come to an end (BadModel).

    … model PATH              → {"found": Inspected}
    … template PATH …         → {"found": TemplateText or null}; of a GGUF file or the first folder that has one
    … teaching PATH …         → {"found": why nothing could be learned through that template, or null}

Before each file a line `{"reading": name}` is printed, so that the server can name the file where this process had
to be ended. A HomefireError becomes `{"error": {"code", "message", "hint"}}`. Nothing is hashed here.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from homefire.catalog.architectures import check_tensors, read_architecture
from homefire.catalog.chat_templates import template_of_folders, template_of_header
from homefire.catalog.checkpoint import ADAPTER_CONFIG, inside, open_checkpoint, refuse_pickle
from homefire.catalog.findings import Inspected, TemplateText
from homefire.catalog.tokenizer import read_json, read_tokenizer
from homefire.engines.gguf_check import check_gguf
from homefire.engines.memory_estimate import read_shape
from homefire.errors import BadModel, HomefireError, NotFound, UnsafeModel
from homefire.machine.limits import limit_process
from homefire.machine.parent import die_with_parent

if TYPE_CHECKING:
    from homefire.engines.template import ChatTemplate

Announce = Callable[[str], None]
GGUF_MAGIC = b"GGUF"
SIDE_FILES = (
    "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja",
    "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt", "README.md", "LICENSE",
    "probes.jsonl", "replay.jsonl",
)  # fmt: skip
"""What belongs to a safetensors model beside its weights; other files in its folder are left alone."""


def inspect_path(path: Path, *, announce: Announce = lambda _: None) -> Inspected:
    """Look at a GGUF file, or at a folder with a safetensors model or exactly one GGUF file."""
    announce(path.name)
    if not path.exists():
        raise NotFound(f"There is nothing at {path}.", path=str(path))
    if path.is_file():
        return _inspect_file(path, announce)
    if not path.is_dir():
        raise BadModel(f"{path} is neither a file nor a folder.")
    if (path / ADAPTER_CONFIG).exists():
        raise BadModel(
            f"{path} is a LoRA adapter, not a whole model.",
            hint="Merge it into its base model first, and add that.",
        )
    if (path / "config.json").exists():
        return _inspect_safetensors(path, announce)
    ggufs = sorted(path.glob("*.gguf"))
    if len(ggufs) == 1:
        return _inspect_gguf(inside(path, ggufs[0].name), announce)
    if ggufs:
        raise BadModel(f"{path} holds {len(ggufs)} GGUF files; name the one to add.")
    refuse_pickle(path)
    raise BadModel(f"{path} is not a model: it has neither config.json nor a GGUF file.")


def _inspect_file(path: Path, announce: Announce) -> Inspected:
    with path.open("rb") as file:
        start = file.read(len(GGUF_MAGIC))
    if start == GGUF_MAGIC:
        return _inspect_gguf(path, announce)
    if path.suffix == ".safetensors":
        raise BadModel(f"{path.name} is a part of a model.", hint=f"Add its folder: {path.parent}")
    if path.suffix == ".gguf":
        raise BadModel(f"{path.name} is not a GGUF file: it starts with other bytes.")
    raise UnsafeModel(
        f"{path.name} is neither GGUF nor safetensors; only those are read, because they cannot run code."
    )


def _inspect_gguf(path: Path, announce: Announce) -> Inspected:
    header = check_gguf(path)
    context_length = header.context_length
    if not header.tensors or context_length <= 0:
        raise BadModel(f"{path.name} is a GGUF file, but not a language model.")
    read_shape(path)
    announce(f"the chat template in {path.name}")
    _try_template(template_of_header(header))
    return Inspected(
        format="gguf",
        folder=str(path.parent),
        architecture=header.architecture,
        num_parameters=header.num_parameters,
        context_length=context_length,
        size_bytes=path.stat().st_size,
        files=(path.name,),
    )


def _inspect_safetensors(folder: Path, announce: Announce) -> Inspected:
    announce("config.json")
    architecture = read_architecture(read_json(inside(folder, "config.json")))
    announce("the headers of its weights")
    checkpoint = open_checkpoint(folder)
    shapes = {name: entry.shape for name, (_, entry) in checkpoint.tensors.items()}
    check_tensors(architecture, shapes)
    announce("tokenizer.json")
    read_tokenizer(folder, vocab_size=architecture.vocab_size)
    announce("its chat template")
    _try_template(template_of_folders([folder]))
    names = [str(path.relative_to(folder)) for path in checkpoint.files]
    names += [name for name in (*SIDE_FILES, "model.safetensors.index.json") if (folder / name).exists()]
    return Inspected(
        format="safetensors",
        folder=str(folder),
        architecture=architecture.gguf_name,
        num_parameters=sum(entry.num_elements for _, entry in checkpoint.tensors.values()),
        context_length=architecture.context_length,
        size_bytes=sum(inside(folder, name).stat().st_size for name in names),
        files=tuple(sorted(names)),
    )


def _try_template(text: TemplateText | None) -> None:
    """Compile it, and render some conversations: what never ends is ended here, not in front of a person."""
    if text is None:
        return
    template = _compiled(text)
    from homefire.types import Message

    user, assistant = Message("user", "Hello"), Message("assistant", "Good morning.")
    for messages in ((user,), (Message("system", "Be brief."), user), (user, assistant, user)):
        try:
            template.render(messages)
        except BadModel:
            continue  # many refuse some conversations: whoever asks is told


def _compiled(text: TemplateText) -> ChatTemplate:
    # Only here: it is the one thing of this process that needs the template library.
    from homefire.engines.template import ChatTemplate

    return ChatTemplate(
        text.source,
        bos_token=text.bos_token,
        eos_token=text.eos_token,
        special_tokens=text.special_tokens,
    )


def read_template(paths: list[Path], *, announce: Announce) -> TemplateText | None:
    """The chat template of a GGUF file, or of the first of these folders that has one."""
    announce(f"the chat template in {paths[0].name}")
    is_file = paths[0].is_file()
    return template_of_header(check_gguf(paths[0])) if is_file else template_of_folders(paths)


def why_not_teachable(paths: list[Path], *, announce: Announce) -> str | None:
    """Why an answer rendered by that template holds nothing to learn; None where it does."""
    from homefire.types import Message

    text = read_template(paths, announce=announce)
    if text is None:
        return "it has no chat template"
    answer = "Tomato."
    try:
        rendered = _compiled(text).render_with_spans(
            (Message("user", "Say a word."), Message("assistant", answer))
        )
    except HomefireError as problem:
        return problem.message
    if any(answer in rendered.text[start:end] for start, end in rendered.spans):
        return None
    return "its chat template gives an answer no text of its own, so nothing could be learned"


def main(arguments: list[str] | None = None) -> int:
    """The child process."""
    parser = argparse.ArgumentParser(prog="python -m homefire.catalog.inspect", description=__doc__)
    parser.add_argument("what", choices=("model", "template", "teaching"))
    parser.add_argument("paths", type=Path, nargs="+")
    parser.add_argument("--cpu-s", type=int, required=True)
    parser.add_argument("--memory-bytes", type=int, required=True)
    options = parser.parse_args(arguments)
    die_with_parent(os.getppid())
    limit_process(cpu_s=options.cpu_s, memory_bytes=options.memory_bytes)
    reading = [""]

    def announce(name: str) -> None:
        reading[0] = name
        _say({"reading": name})

    try:
        found: Any
        if options.what == "model":
            found = inspect_path(options.paths[0], announce=announce)
        elif options.what == "template":
            found = read_template(options.paths, announce=announce)
        else:
            found = why_not_teachable(options.paths, announce=announce)
        _say({"found": found})
    except HomefireError as error:
        _say({"error": {"code": error.code, "message": error.message, "hint": error.hint}})
    except MemoryError:
        _refuse(reading[0], f"it needs more than {options.memory_bytes >> 20} MiB of memory")
    except OSError as error:
        _refuse(reading[0], f"{error.strerror}")
    except Exception as error:  # noqa: BLE001 - whatever a file makes a parser raise, it is the file's fault
        _refuse(reading[0], f"{type(error).__name__}: {error}"[:300])
    return 0


def _refuse(name: str, why: str) -> None:
    message = f"This model cannot be read: {name}: {why}."
    _say({"error": {"code": BadModel.code, "message": message, "hint": "Fetch its files again."}})


def _say(what: dict[str, Any]) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(what) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    sys.exit(main())
