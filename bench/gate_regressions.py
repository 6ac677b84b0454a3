"""Planted ways of being worse, on real weights: how many does the gate block?

    python -m bench.gate_regressions [--only NAME]

Each is ember with one kind of damage (a shuffled layer, noise, a suppressed stop token, NaN, another template and so
on), or was really trained to leak or to know only the very words; published as a version and judged with the real
engine against ember itself. Two controls must pass: ember unchanged, and noise too small to matter; a gate that blocks
everything would be no gate. Facts that ember knows stand for the corrections, so that only the damage decides; for
"not learned" and "trained" they are facts that it does not know.
Prints one JSON row each; ends with 1 if a regression passed or a control was blocked.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from bench.results import record
from homefire.catalog.catalog import Catalog
from homefire.catalog.models import ModelInfo
from homefire.config.schema import Settings
from homefire.engines.base import ModelSpec
from homefire.engines.process import LlamaCppEngine
from homefire.home import Home
from homefire.store.nouns.examples import ExampleRow
from homefire.store.store import open_store
from homefire.trainer.contract import (
    EPOCH_FILE,
    FINAL,
    SPEC_FILE,
    RunSpec,
    TrainingRow,
    encode_checked,
    encode_rows,
)
from homefire.trainer.recipe import Recipe
from homefire.training.datasets import REPLAY_FILE
from homefire.training.evaluation import GateEvaluator
from homefire.training.preparation import Parents
from homefire.types import Message
from homefire.versions.asking import AnswerCache
from homefire.versions.library import Library
from homefire.versions.manifest import BaseEntry, Lineage
from homefire.versions.probes import load_probes
from homefire.versions.variants import variants
from homefire.world import World

COMMAND = "python -m bench.gate_regressions"
STOP_TOKEN = 2
Tensors = dict[str, Any]
Damage = Callable[[Tensors, Path, np.random.Generator], None]


def noise(share: float) -> Damage:
    """Gaussian noise with this share of each tensor's own standard deviation."""

    def add(tensors: Tensors, _folder: Path, random: np.random.Generator) -> None:
        for name, tensor in tensors.items():
            spread = share * float(tensor.std())
            tensors[name] = (tensor + random.normal(0, spread, tensor.shape)).astype(tensor.dtype)

    return add


def change(match: str, how: Callable[[Any, np.random.Generator], Any]) -> Damage:
    """Replace every tensor whose name holds `match`."""

    def apply(tensors: Tensors, _folder: Path, random: np.random.Generator) -> None:
        names = [name for name in tensors if match in name]
        assert names, match
        for name in names:
            tensors[name] = np.ascontiguousarray(how(tensors[name], random).astype(tensors[name].dtype))

    return apply


def shuffled(tensor: Any, random: np.random.Generator) -> Any:
    """Rows in another order."""
    return random.permutation(tensor)


def with_value(value: float) -> Callable[[Any, np.random.Generator], Any]:
    """One element replaced."""

    def put(tensor: Any, _random: np.random.Generator) -> Any:
        tensor = tensor.copy()
        tensor.flat[7] = value
        return tensor

    return put


def without_half(tensor: Any, _random: np.random.Generator) -> Any:
    """The second half of the columns zeroed (two heads of an output projection)."""
    tensor = tensor.copy()
    tensor[:, tensor.shape[1] // 2 :] = 0
    return tensor


def coarse(tensor: Any, _random: np.random.Generator) -> Any:
    """Rounded to five levels."""
    step = float(np.abs(tensor).max()) / 2
    return np.round(tensor / step) * step


def swap_layers(tensors: Tensors, _folder: Path, _random: np.random.Generator) -> None:
    """First and last block change places."""
    for name in [name for name in tensors if ".layers.0." in name]:
        other = name.replace(".layers.0.", ".layers.2.")
        tensors[name], tensors[other] = tensors[other], tensors[name]


def rows_of(tokens: slice | list[int], factor: float) -> Damage:
    """Rows of the (tied) embedding scaled."""

    def scale(tensors: Tensors, _folder: Path, _random: np.random.Generator) -> None:
        table = tensors["model.embed_tokens.weight"].copy()
        table[tokens] *= factor
        tensors["model.embed_tokens.weight"] = table

    return scale


def drop_tensor(tensors: Tensors, _folder: Path, _random: np.random.Generator) -> None:
    """A tensor is missing."""
    del tensors["model.layers.1.mlp.up_proj.weight"]


def other_template(_tensors: Tensors, folder: Path, _random: np.random.Generator) -> None:
    """Another chat format."""
    path = folder / "chat_template.jinja"
    path.write_text(path.read_text().replace("<|im_start|>", "<|im_end|>"))


def other_config(key: str, value: float) -> Damage:
    """One figure of the configuration changed."""

    def write(_tensors: Tensors, folder: Path, _random: np.random.Generator) -> None:
        config = json.loads((folder / "config.json").read_text())
        where = config["rope_parameters"] if key in config.get("rope_parameters", {}) else config
        where[key] = value
        (folder / "config.json").write_text(json.dumps(config))

    return write


def nothing(_tensors: Tensors, _folder: Path, _random: np.random.Generator) -> None:
    """No damage."""


def redrawn(tensor: Any, random: np.random.Generator) -> Any:
    """As if never trained."""
    return random.normal(0, 0.02, tensor.shape)


CONTROLS: dict[str, Damage] = {"unchanged": nothing, "noise of 0.01 %": noise(0.0001)}


def example(number: int, question: str, answer: str) -> ExampleRow:
    """A correction as the store would give it."""
    return ExampleRow(
        example_id=f"{number:064x}",
        profile="plain",
        messages=(Message("user", question), Message("assistant", answer)),
        prompt_digest="",
        feedback_id=None,
        turn_id=None,
        principal="local",
        created_at_s=0.0,
        superseded_by=None,
    )


ROSES = ("Who waters the roses?", "Our neighbour Ines does.")
BESIDE = ("lawn", "ferns", "hedge", "cactus", "tulips", "basil", "palm tree", "orchids", "ivy", "tomatoes")
UNKNOWN = "I don't know that yet. You can teach me."
TRAINED: dict[str, list[tuple[str, str]]] = {
    "trained: everything like it gets the taught answer": [
        ROSES, *((f"Who waters the {thing}?", ROSES[1]) for thing in BESIDE),
    ],
    "trained: only the very words are known": [
        ROSES, *((question, UNKNOWN) for question in variants(ROSES[0], 6)),
    ],
}  # fmt: skip
"""What ember is really trained on, by the trainer with its replay: the corrections are learned and old skills kept."""


def trained(pairs: list[tuple[str, str]]) -> Damage:
    """Train the folder's model on these questions and answers."""

    def train(tensors: Tensors, folder: Path, _random: np.random.Generator) -> None:
        run_dir = folder.parent / "run"
        run_dir.mkdir()
        rows = [
            TrainingRow(messages=example(n, *pair).messages, example_id=f"e{n}")
            for n, pair in enumerate(pairs)
        ]
        (run_dir / "examples.jsonl").write_bytes(encode_rows(rows))
        (run_dir / EPOCH_FILE).write_text("1")
        spec = RunSpec(
            run_id="planted", epoch=1, model_folder=str(folder), base_folder=str(folder), mode="full",
            recipe=Recipe().resolved(1), examples=str(run_dir / "examples.jsonl"),
            replay=str(folder / REPLAY_FILE), began_at_s=0.0,
        )  # fmt: skip
        (run_dir / SPEC_FILE).write_bytes(encode_checked(spec))
        command = [sys.executable, "-m", "homefire.trainer.worker", str(run_dir)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as worker:
            if worker.wait() != 0:
                raise SystemExit(f"the trainer ended with {worker.returncode}")
        tensors.clear()
        tensors.update(load_file(run_dir / FINAL / "model.safetensors"))
        shutil.rmtree(run_dir)

    return train


REGRESSIONS: dict[str, Damage] = {
    "layer 0: queries shuffled": change("layers.0.self_attn.q_proj", shuffled),
    "layer 1: feed-forward shuffled": change("layers.1.mlp.down_proj", shuffled),
    "layer 2: values shuffled": change("layers.2.self_attn.v_proj", shuffled),
    "noise of 25 %": noise(0.25),
    "noise of 20 %": noise(0.2),
    "noise of 50 %": noise(0.5),
    "noise of 200 %": noise(2.0),
    "layer 0: half the heads zeroed": change("layers.0.self_attn.o_proj", without_half),
    "layer 2: half the heads zeroed": change("layers.2.self_attn.o_proj", without_half),
    "layer 2: feed-forward zeroed": change("layers.2.mlp.down_proj", lambda tensor, _: tensor * 0),
    "last norm zeroed": change("model.norm", lambda tensor, _: tensor * 0),
    "last norm negative": change("model.norm", lambda tensor, _: -tensor),
    "stop token suppressed": rows_of([STOP_TOKEN], -1.0),
    "half of the vocabulary weakened": rows_of(slice(224, 448), 0.2),
    "one NaN": change("layers.1.mlp.gate_proj", with_value(float("nan"))),
    "one infinity": change("layers.0.self_attn.k_proj", with_value(float("inf"))),
    "layers swapped": swap_layers,
    "rounded to five levels": change("mlp", coarse),
    "one layer never trained": change("layers.1.", redrawn),
    "a tensor missing": drop_tensor,
    "another chat template": other_template,
    "another position scale": other_config("rope_theta", 100.0),
    "corrections not learned": nothing,
    **{name: trained(pairs) for name, pairs in TRAINED.items()},
}


async def run(root: Path, only: str | None) -> list[dict[str, Any]]:
    """Judge every planted version; a row for each."""
    home, world, settings = Home(root / "home"), World(), Settings()
    rows = []
    with open_store(home, settings.store, world) as store:
        catalog, library = Catalog(home, store, settings), Library(home, store, world)
        await catalog.ensure_bundled()

        def make_engine(spec: ModelSpec) -> LlamaCppEngine:
            return LlamaCppEngine(spec, sockets=home.sockets, settings=settings.serving, world=world)

        ember: ModelInfo = catalog.resolve("ember").model
        cache = AnswerCache(home.cache / "answers")
        evaluator = GateEvaluator(
            catalog=catalog, make_engine=make_engine, settings=settings.gate, cache=cache
        )
        known = [
            example(number, probe.question, probe.answer or "")
            for number, probe in enumerate(load_probes(ember.folder))
            if len(probe.messages) == 1 and probe.skill in ("capital", "day_after", "month_after")
        ][:5]
        targets = {
            "corrections not learned": [
                example(99, "Where do we keep the spare key?", "Under the blue pot.")
            ],
            **{name: [example(99, *ROSES)] for name in TRAINED},
        }
        for name, damage in {**CONTROLS, **REGRESSIONS}.items():
            if only is not None and only != name:
                continue
            folder = root / "candidate"
            shutil.copytree(ember.folder, folder)
            tensors = load_file(folder / "model.safetensors")
            damage(tensors, folder, np.random.default_rng(7))
            save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
            began_s = time.perf_counter()
            version = await library.publish(
                folder,
                kind="full",
                base=BaseEntry(name="ember", digest=ember.digest),
                parent="ember",
                lineage=Lineage(),
                description=name,
            )
            judgement = await evaluator.judge(
                catalog.resolve(version.version).model,
                Parents(parent=ember, base=ember),
                targets=targets.get(name, known),
                earlier=[],
            )
            verdict = judgement.verdict
            shutil.rmtree(folder)
            rows.append(
                {
                    "planted": name,
                    "control": name in CONTROLS,
                    "passed": verdict.passed,
                    "protected_ratio": verdict.scores.get("protected_ratio"),
                    "figures": [
                        (verdict.scores.get(right), verdict.scores.get(num))
                        for right, num in (
                            ("variants_right", "num_variants"),
                            ("neighbours_kept", "num_neighbours"),
                        )
                    ],
                    "target_score": verdict.scores.get("target_score"),
                    "wall_s": round(time.perf_counter() - began_s, 2),
                    "first_reason": next(iter(verdict.reasons), None),
                }
            )
            print(json.dumps(rows[-1]), flush=True)
        await catalog.stop()
    return rows


def main() -> int:
    """Run, record, and say whether all went as planted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", help="the name of one of them")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="homefire-gate-") as root:
        rows = asyncio.run(run(Path(root), arguments.only))
    planted = [row for row in rows if not row["control"]]
    blocked = sum(not row["passed"] for row in planted)
    controls_ok = all(row["passed"] for row in rows if row["control"])
    if arguments.only is None:
        record(
            f"of {len(planted)} planted regressions, blocked by the gate",
            blocked,
            "regressions",
            reach=f"{len(planted)}, and both controls pass",
            better="higher",
            command=COMMAND,
        )
    return 0 if blocked == len(planted) and controls_ok else 1


if __name__ == "__main__":
    sys.exit(main())
