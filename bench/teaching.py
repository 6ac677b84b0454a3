"""Teaches facts to ember with the real trainer and asks in other words: what is learned, and what changes besides.

    python -m bench.teaching --facts 20 --seeds 3 --split tune [--recipe FIELD=VALUE,...] [--label NAME]
    python -m bench.teaching --one-by-one 29
    python -m bench.teaching --behaviour
    python -m bench.teaching --check-engine
    python -m bench.teaching --split report --facts 1,20 --seeds 10 --peers --record

The rows of a run are prepared by the server's own code and trained by the worker's own `Trainer`, in this process
on one thread. Then every question is asked greedily, in batches, in torch; `--check-engine` shows that llama.cpp
gives the same answers. In the words of the knowledge-editing literature (Yao et al., arXiv 2305.13172):

    efficacy      the question as taught, alone, inside a chat, and under a system prompt
    generality    the same question in other words (case, contraction, "tell me", reordered, a typo)
    locality      neighbours keep the answer of the base; unknown questions stay unknown; old skills stay right
    portability   other verbs and nouns for the same question

Prints a line per seed and the median and worst over seeds. `--peers`: the same facts by plain fine-tuning and by LoRA,
for the same processor time (`teaching_peers.py`). Costs 20 to 60 s per 20 facts, three times that with peers.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

os.environ.setdefault("OMP_NUM_THREADS", "1")

import msgspec
import torch
import transformers

from bench import teaching_facts as facts_of
from bench import teaching_peers as peers
from bench.results import record
from bench.teaching_facts import Fact, Split
from homefire.catalog.catalog import Catalog
from homefire.config.schema import Settings
from homefire.engines.process import LlamaCppEngine
from homefire.home import Home
from homefire.store.store import open_store
from homefire.trainer import contract
from homefire.trainer.control import Control
from homefire.trainer.recipe import Recipe
from homefire.trainer.render import Renderer, load_renderer
from homefire.trainer.trainer import Trainer
from homefire.training import preparation
from homefire.training.datasets import read_replay
from homefire.types import Message
from homefire.versions.agreement import normalise
from homefire.versions.asking import ask as ask_engine
from homefire.versions.gate import Probe
from homefire.world import World

EMBER = Path(contract.__file__).parents[1] / "bundled" / "ember"
MAX_TOKENS = 48
BATCH_ROWS = 96
Question = tuple[Message, ...]


class Answerer:
    """Greedy answers of one model, many questions at a time, left-padded."""

    def __init__(self, folder: Path) -> None:
        self.model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        self.renderer: Renderer = load_renderer(folder)

    @torch.no_grad()
    def answers(self, questions: Sequence[Question]) -> list[str]:
        """The answers in the order of the questions."""
        prompts = [self._prompt(question) for question in questions]
        order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
        answers = [""] * len(prompts)
        for start in range(0, len(order), BATCH_ROWS):
            chosen = order[start : start + BATCH_ROWS]
            for i, ids in zip(chosen, self._generate([prompts[i] for i in chosen]), strict=True):
                answers[i] = self.renderer.tokenizer.decode(ids, skip_special_tokens=True)
        return answers

    def _prompt(self, question: Question) -> list[int]:
        encoded = self.renderer.encode((*question, Message("assistant", "x")))
        return list(encoded.ids[: encoded.answers[-1].start])

    def _generate(self, prompts: Sequence[list[int]]) -> list[list[int]]:
        width = max(len(prompt) for prompt in prompts)
        ids = torch.tensor([[0] * (width - len(p)) + p for p in prompts])
        mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts])
        cache = transformers.DynamicCache(config=self.model.config)
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        written: list[list[int]] = [[] for _ in prompts]
        is_done = [False] * len(prompts)
        for _ in range(MAX_TOKENS):
            output = self.model(
                input_ids=ids,
                attention_mask=mask,
                position_ids=positions,
                past_key_values=cache,
                logits_to_keep=1,
            )
            ids = output.logits[:, -1].argmax(-1, keepdim=True)
            for row, token in enumerate(ids[:, 0].tolist()):
                is_done[row] = is_done[row] or token in self.renderer.stop_ids
                if not is_done[row]:
                    written[row].append(token)
            if all(is_done):
                break
            mask = torch.cat([mask, torch.ones_like(ids)], dim=1)
            positions = positions[:, -1:] + 1
        return written


class Cached:
    """The base's answers, asked once."""

    def __init__(self, answerer: Answerer) -> None:
        self._answerer = answerer
        self._known: dict[Question, str] = {}

    def __call__(self, questions: Sequence[Question]) -> list[str]:
        missing = [q for q in dict.fromkeys(questions) if q not in self._known]
        self._known.update(zip(missing, self._answerer.answers(missing), strict=True))
        return [self._known[question] for question in questions]


@dataclass(frozen=True)
class Taught:
    """A finished training."""

    folder: Path
    steps: int
    cpu_s: float
    learned: int
    change_kept: float


@dataclass(frozen=True)
class Teacher:
    """How a parent is taught: returns the folder with the child, and what it cost."""

    recipe: Recipe
    seed: int
    base_ask: Cached
    base: Path = EMBER

    def teach(
        self, run_dir: Path, *, new: Sequence[Any], learned: Sequence[Any] = (), parent: Path | None = None
    ) -> Taught:
        """Prepare and train one run, as the server and its worker do."""
        parent = parent or self.base
        names = SimpleNamespace(name=parent.name, folder=parent, digest="")
        parents = cast(
            Any,
            SimpleNamespace(parent=names, base=SimpleNamespace(name="ember", folder=self.base, digest="")),
        )
        started_s = time.process_time()
        preparation.write_rows(
            run_dir, new=new, learned=learned, old_skills=read_replay(self.base), parents=parents,
            recipe=self.recipe, seed=self.seed, world=World(),
        )  # fmt: skip
        (run_dir / contract.EPOCH_FILE).write_text("1\n")
        recipe = self.recipe.resolved(400_000)
        spec = contract.RunSpec(
            run_id="run", epoch=1, model_folder=str(parent), base_folder=str(self.base),
            mode=cast(Any, recipe.mode), recipe=recipe, seed=self.seed, nice=0, checkpoint_every_steps=10_000,
            **{name: str(path) for name, path in self._files(run_dir).items()},
        )  # fmt: skip
        (run_dir / contract.SPEC_FILE).write_bytes(msgspec.json.encode(spec))
        control = Control(0, cast(Any, io.BytesIO()))
        done = Trainer(spec, run_dir, control=control, world=World(), started_s=time.monotonic()).work()
        cpu_s = time.process_time() - started_s
        return Taught(Path(done.folder), done.step, cpu_s, done.num_learned, done.change_kept)

    def _files(self, run_dir: Path) -> dict[str, Path]:
        files = {
            "examples": run_dir / preparation.EXAMPLES_FILE,
            "retained": run_dir / preparation.RETAINED_FILE,
            "replay": run_dir / preparation.REPLAY_ROWS_FILE,
            "wordings": run_dir / preparation.WORDINGS_FILE,
            "neighbours": run_dir / preparation.NEIGHBOURS_FILE,
        }
        return {name: path for name, path in files.items() if path.stat().st_size}


def example(question: str, answer: str) -> contract.TrainingRow:
    """A correction as the server would hold it."""
    return contract.TrainingRow(
        (Message("user", question), Message("assistant", answer)), f"ex-{normalise(question)}"
    )


def asked(text: str, *, in_chat: bool = False, system: str | None = None) -> Question:
    """A question, alone or after others."""
    before = [m for q, a in facts_of.CHAT_BEFORE for m in (Message("user", q), Message("assistant", a))]
    head = [Message("system", system)] if system else []
    return (*head, *(before if in_chat else ()), Message("user", text))


@dataclass
class Scores:
    """Counts of (as wanted, asked) by measure, and what was said instead."""

    counts: dict[str, list[int]] = field(default_factory=dict)
    misses: list[tuple[str, str, str]] = field(default_factory=list)

    def add(self, measure: str, is_right: bool, *, question: str = "", said: str = "") -> None:
        """Count one answer."""
        count = self.counts.setdefault(measure, [0, 0])
        count[0] += is_right
        count[1] += 1
        if not is_right:
            self.misses.append((measure, question, said))

    def percent(self, *measures: str) -> float:
        """The mean over the questions of these measures."""
        found = [self.counts[m] for m in measures if m in self.counts]
        return 100.0 * sum(right for right, _ in found) / max(1, sum(all_ for _, all_ in found))


Ask = Callable[[Sequence[Question]], list[str]]


def measure(ask: Ask, base_ask: Ask, facts: Sequence[Fact], *, split: Split) -> Scores:
    """Ask everything once. Leak and change are counted as kept: the share that did *not* leak or change."""
    taught_questions = {normalise(fact.question) for fact in facts}
    taught_answers = {normalise(fact.answer) for fact in facts}
    old = facts_of.old_skills()
    neighbours = [n for fact in facts for n in fact.neighbours if normalise(n) not in taught_questions]
    unknown = list(facts_of.UNKNOWN[split])
    others = [asked(q) for q in (*neighbours, *unknown, *(q for q, _ in old))]
    plan: list[tuple[str, str, str, Question]] = []
    for fact in facts:
        q, a = fact.question, fact.answer
        plan += [("exact", a, q, asked(q)), ("chat", a, q, asked(q, in_chat=True))]
        plan.append(("system", a, q, asked(q, system=facts_of.SYSTEM_PROMPT)))
        plan += [(kind, a, text, asked(text)) for kind, text in fact.rewordings.items()]
        plan.append(("case_in_chat", a, q, asked(fact.rewordings["case"], in_chat=True)))
    said = ask([*(question for *_, question in plan), *others])
    base_said = base_ask(others)
    scores = Scores()
    for (kind, answer, text, _), got in zip(plan, said, strict=False):
        scores.add(kind, got.strip() == answer.strip(), question=text, said=got)
    rest, position = said[len(plan) :], 0
    for text in neighbours:
        got, before = rest[position], base_said[position]
        scores.add("no_leak", normalise(got) not in taught_answers, question=text, said=got)
        scores.add("unchanged", normalise(got) == normalise(before), question=text, said=got)
        position += 1
    for text in unknown:
        got, before = rest[position], base_said[position]
        if "I don't know" in before:
            scores.add("unknown", "I don't know" in got, question=text, said=got)
        position += 1
    for text, answer in old:
        got, before = rest[position], base_said[position]
        if before.strip() == answer:
            scores.add("old", got.strip() == answer, question=text, said=got)
        position += 1
    return scores


def protected_ratio(ask: Ask, base_ask: Ask) -> float:
    """Right answers to ember's own probes, after to before: what the gate compares."""
    rows = [json.loads(line) for line in (EMBER / "probes.jsonl").read_text().splitlines()]
    questions = [tuple(Message(m["role"], m["content"]) for m in row["messages"]) for row in rows]
    right = [
        sum(got.strip() == row["answer"].strip() for got, row in zip(answers, rows, strict=True))
        for answers in (ask(questions), base_ask(questions))
    ]
    return right[0] / right[1]


COLUMNS = ("exact", "chat", "system", "reworded", "case", "contraction", "tell_me", "reordered", "typo", "paraphrase",
           "leak", "changed", "unknown", "old", "fit_wordings", "fit_neighbours")  # fmt: skip


def summarise(scores: Scores) -> dict[str, float]:
    """The figures of the table, in percent."""
    found = {name: scores.percent(name) for name in COLUMNS if name in scores.counts}
    found["reworded"] = scores.percent(*facts_of.REWORDED)
    found["leak"] = 100 - scores.percent("no_leak")
    found["changed"] = 100 - scores.percent("unchanged")
    return found


def run_round(
    teacher: Teacher, base_ask: Cached, *, num_facts: int, split: Split, show: bool = False
) -> dict[str, float]:
    """Teach so many facts at once to a fresh base, and measure."""
    facts = facts_of.make_facts(num_facts, split=split, seed=teacher.seed)
    folder = Path(tempfile.mkdtemp(prefix="teaching-"))
    try:
        taught = teacher.teach(folder / "run", new=[example(f.question, f.answer) for f in facts])
        child = Cached(Answerer(taught.folder))
        scores = measure(child, base_ask, facts, split=split)
        for name in ("wordings", "neighbours"):
            rows = contract.read_rows(folder / "run" / f"{name}.jsonl")[::7]
            prompts = [row.messages[:-1] for row in rows]
            wanted = [row.messages[-1].text for row in rows] if name == "wordings" else base_ask(prompts)
            for row, got, want in zip(rows, child(prompts), wanted, strict=True):
                scores.add(
                    f"fit_{name}", got.strip() == want.strip(), question=row.messages[-2].text, said=got
                )
        result = summarise(scores) | {"protected": protected_ratio(child, base_ask)}
    finally:
        shutil.rmtree(folder)
    if show:
        for miss in scores.misses:
            print("   ", *miss, sep=" | ")
    return result | {
        "steps": taught.steps,
        "cpu_s": taught.cpu_s,
        "kept": taught.change_kept,
        "learned": taught.learned,
    }


def run_peer(
    teacher: Teacher, base_ask: Cached, kind: peers.Kind, *, num_facts: int, split: Split, cpu_s: float
) -> dict[str, float]:
    """The same facts by a peer, for so long."""
    facts = facts_of.make_facts(num_facts, split=split, seed=teacher.seed)
    peer = peers.Peer(kind, cpu_s, peers.RATES[kind], teacher.seed, teacher.base)
    with tempfile.TemporaryDirectory(prefix="teaching-") as folder:
        steps = peer.teach(Path(folder), new=[example(f.question, f.answer) for f in facts])
        child = Cached(Answerer(Path(folder)))
        result = summarise(measure(child, base_ask, facts, split=split))
        return result | {"protected": protected_ratio(child, base_ask), "steps": steps, "cpu_s": cpu_s}


def run_one_by_one(teacher: Teacher, base_ask: Cached, *, generations: int, split: Split) -> dict[str, float]:
    """One fact per generation, each taught to the last one's child; measured at the end over all facts."""
    facts = facts_of.make_facts(generations, split=split, seed=teacher.seed)
    folder = Path(tempfile.mkdtemp(prefix="teaching-"))
    rows = [example(f.question, f.answer) for f in facts]
    parent, cpu_s, steps = teacher.base, 0.0, 0
    try:
        for number, row in enumerate(rows):
            taught = teacher.teach(folder / f"run{number}", new=[row], learned=rows[:number], parent=parent)
            parent, cpu_s, steps = taught.folder, cpu_s + taught.cpu_s, steps + taught.steps
        child = Cached(Answerer(parent))
        result = summarise(measure(child, base_ask, facts, split=split))
        result["protected"] = protected_ratio(child, base_ask)
    finally:
        shutil.rmtree(folder)
    return result | {"steps": steps / generations, "cpu_s": cpu_s / generations}


def run_behaviour(teacher: Teacher, base_ask: Cached, *, split: Split) -> dict[str, float]:
    """Eight examples of an ending; how many other prompts follow, and how many of those keep their answer."""
    shown, others = facts_of.BEHAVIOUR[split]
    answers = base_ask([asked(q) for q in shown])
    rows = [example(q, a + facts_of.BEHAVIOUR_ENDING) for q, a in zip(shown, answers, strict=True)]
    folder = Path(tempfile.mkdtemp(prefix="teaching-"))
    try:
        taught = teacher.teach(folder / "run", new=rows)
        said = Answerer(taught.folder).answers([asked(q) for q in others])
    finally:
        shutil.rmtree(folder)
    before = base_ask([asked(q) for q in others])
    follow = [got.endswith(facts_of.BEHAVIOUR_ENDING) for got in said]
    same = [got.removesuffix(facts_of.BEHAVIOUR_ENDING) == was for got, was in zip(said, before, strict=True)]
    return {"follow": sum(follow), "same": sum(same), "steps": taught.steps, "cpu_s": taught.cpu_s}


def show_line(label: str, values: dict[str, float]) -> None:
    """One line of figures."""
    print(f"{label:38s} " + " ".join(f"{name} {value:.4g}" for name, value in values.items()), flush=True)


LOW_IS_GOOD = {"leak", "changed", "cpu_s", "steps"}
REACH = {
    "exact": "100", "chat": "100", "reworded": ">= 95, 92, 90 at 20, 50, 100 facts", "reordered": ">= 80",
    "leak": "<= 1", "changed": "<= 5", "unknown": ">= 97", "old": ">= 99, 98.5 after 50, 100 facts",
    "protected": ">= 0.985", "cpu_s": "<= 12 for 20 facts", "paraphrase": "as measured",
}  # fmt: skip
NAMES = {
    "exact": "efficacy: asked as taught", "chat": "efficacy: inside a chat", "reworded": "generality: in other words",
    "reordered": "generality: reordered", "leak": "locality: neighbours that get a taught answer",
    "changed": "locality: neighbours that change their answer", "unknown": "locality: unknown stays unknown",
    "old": "locality: old skills kept", "protected": "locality: the gate's protected ratio",
    "cpu_s": "processor time of a training", "paraphrase": "portability: other verbs and nouns",
}  # fmt: skip


def write_rows(
    rounds: Sequence[dict[str, float]], of_lora: Sequence[dict[str, float]], *, num_facts: int, command: str
) -> None:
    """Worst and median over the seeds into `bench/results/learning.json`; LoRA's beside ours, where it was asked."""
    for name, what in NAMES.items():
        values, theirs = ([each[name] for each in found if name in each] for found in (rounds, of_lora))
        is_low_good = name in LOW_IS_GOOD
        unit = {"cpu_s": "s", "protected": "ratio"}.get(name, "%")
        for kind, choose in (("worst", max if is_low_good else min), ("median", statistics.median)):
            record(
                f"teaching {num_facts} facts, {what}, {kind} of {len(values)} seeds",
                choose(values),
                unit,
                reach=REACH[name],
                better="lower" if is_low_good else "higher",
                peer=peers.NAMES["lora"] if theirs else None,
                peer_value=choose(theirs) if theirs else None,
                command=command,
                area="learning",
            )


def show_summary(label: str, rounds: Sequence[dict[str, float]]) -> None:
    """Median and worst over the seeds."""
    if len(rounds) > 1:
        names = list(rounds[0])
        show_line(label + " median", {n: statistics.median(r[n] for r in rounds if n in r) for n in names})
        worst = {n: (max if n in LOW_IS_GOOD else min)(r[n] for r in rounds if n in r) for n in names}
        show_line(label + " worst", worst)


def recipe_from(text: str) -> Recipe:
    """`field=value,…` over the default recipe."""
    values: dict[str, Any] = {}
    for part in filter(None, text.split(",")):
        name, _, value = part.partition("=")
        values[name] = msgspec.json.decode(value) if value[:1].isdigit() or value[:1] in "-tf" else value
    return Recipe.from_dict(values)


async def check_engine() -> float:
    """The share of questions that llama.cpp answers as the batched loop does: of the base, alone and in a chat."""
    facts = facts_of.make_facts(40, split="tune", seed=0)
    questions = [asked(f.question) for f in facts] + [asked(f.question, in_chat=True) for f in facts]
    questions += [asked(text) for f in facts for text in f.rewordings.values()]
    questions += [asked(question) for question, _ in facts_of.old_skills()]
    probes = [
        Probe(probe_id=str(number), group="protected", skill="", messages=question)
        for number, question in enumerate(questions)
    ]
    with tempfile.TemporaryDirectory(prefix="teaching-") as root:
        home, world, settings = Home(Path(root) / "home"), World(), Settings()
        with open_store(home, settings.store, world) as store:
            catalog = Catalog(home, store, settings)
            await catalog.ensure_bundled()
            engine = LlamaCppEngine(
                await catalog.spec(catalog.resolve("ember").model),
                sockets=home.sockets,
                settings=settings.serving,
                world=world,
            )
            await engine.ensure_ready()
            served = await ask_engine(engine, probes, max_tokens=MAX_TOKENS)
            await engine.stop()
            await catalog.stop()
    ours = Answerer(EMBER).answers(questions)
    same = [served[str(number)].text == text for number, text in enumerate(ours)]
    return sum(same) / len(same)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--facts", default="20")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--split", choices=("tune", "report"), default="tune")
    parser.add_argument("--recipe", action="append", default=[])
    parser.add_argument("--base", type=Path, default=EMBER)
    parser.add_argument(
        "--peers", action="store_true", help="the same facts by plain fine-tuning and by LoRA, too"
    )
    parser.add_argument("--one-by-one", type=int, default=0)
    parser.add_argument("--behaviour", action="store_true")
    parser.add_argument("--record", action="store_true", help="write rows into bench/results/learning.json")
    parser.add_argument("--check-engine", action="store_true")
    parser.add_argument("--show", action="store_true", help="print each answer that was not as wanted")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    transformers.utils.logging.disable_progress_bar()
    if arguments.check_engine:
        print(f"llama.cpp and the batched loop agree on {asyncio.run(check_engine()):.2%} of the answers")
        return
    base_ask = Cached(Answerer(arguments.base))
    split: Split = arguments.split
    for text in arguments.recipe or [""]:
        seeds = range(arguments.first_seed, arguments.first_seed + arguments.seeds)
        teachers = [Teacher(recipe_from(text), seed, base_ask, arguments.base) for seed in seeds]
        if arguments.behaviour:
            rounds = [run_behaviour(teacher, base_ask, split=split) for teacher in teachers]
            for values in rounds:
                show_line(f"{text or 'default'} behaviour", values)
            continue
        if arguments.one_by_one:
            for teacher in teachers:
                values = run_one_by_one(teacher, base_ask, generations=arguments.one_by_one, split=split)
                show_line(f"{text or 'default'} {arguments.one_by_one} one by one", values)
            continue
        for num_facts in map(int, arguments.facts.split(",")):
            label = f"{text or 'default'} {num_facts}"
            rounds = []
            by_peer: dict[peers.Kind, list[dict[str, float]]] = {kind: [] for kind in peers.NAMES}
            for teacher in teachers:
                rounds.append(
                    run_round(teacher, base_ask, num_facts=num_facts, split=split, show=arguments.show)
                )
                show_line(f"{label} seed {teacher.seed}", rounds[-1])
                for kind, found in by_peer.items() if arguments.peers else ():
                    cpu_s = rounds[-1]["cpu_s"]
                    found.append(
                        run_peer(teacher, base_ask, kind, num_facts=num_facts, split=split, cpu_s=cpu_s)
                    )
                    show_line(f"{label} seed {teacher.seed} {peers.NAMES[kind]}", found[-1])
            show_summary(label, rounds)
            for kind, found in by_peer.items():
                show_summary(f"{label} {peers.NAMES[kind]}", found)
            if arguments.record:
                command = (
                    f"python -m bench.teaching --split {split} --facts {num_facts} --seeds {len(rounds)} "
                    f"--first-seed {arguments.first_seed}{' --peers' if arguments.peers else ''} --record"
                )
                write_rows(rounds, by_peer["lora"], num_facts=num_facts, command=command)


if __name__ == "__main__":
    main()
