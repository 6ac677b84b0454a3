"""The same facts by what one would try first: plain fine-tuning, and LoRA by PEFT, for as long as ours takes.

Every fact as a question and its answer, all of them in each step, the loss on the answer alone, AdamW with a rate that
falls to nothing over the time there is. No replay, no other wordings, no neighbours: that is what they are compared
without. Each rate is the middle one of three that were tried: a third of it keeps more and is known less in other words,
three times it the other way round (docs/LOG.md holds all six).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import peft
import torch
import transformers

from homefire.trainer.contract import TrainingRow
from homefire.trainer.render import load_renderer

Kind = Literal["plain", "lora"]
RATES: dict[Kind, float] = {"plain": 1e-3, "lora": 3e-3}
NAMES: dict[Kind, str] = {"plain": "plain fine-tuning in equal time", "lora": "LoRA (PEFT) in equal time"}
MAX_ROWS = 32
_IGNORED = -100


@dataclass(frozen=True)
class Peer:
    """One way of teaching. `cpu_s`: how long it may take."""

    kind: Kind
    cpu_s: float
    rate: float
    seed: int
    base: Path

    def teach(self, folder: Path, *, new: Sequence[TrainingRow]) -> int:
        """Write the taught model into a folder; returns the steps."""
        started_s = time.process_time()
        torch.manual_seed(self.seed)
        model: Any = transformers.AutoModelForCausalLM.from_pretrained(self.base, dtype=torch.float32)
        if self.kind == "lora":
            config = peft.LoraConfig(r=16, lora_alpha=32, lora_dropout=0.05, target_modules="all-linear")
            model = peft.get_peft_model(model, config)
        batches = self._batches(new)
        optimizer = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), weight_decay=0.0)
        model.train()
        num_steps = 0
        while (used := (time.process_time() - started_s) / self.cpu_s) < 1:
            for group in optimizer.param_groups:
                group["lr"] = self.rate * (1 - used)
            ids, labels = batches[num_steps % len(batches)]
            model(input_ids=ids, labels=labels).loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            num_steps += 1
        if self.kind == "lora":
            model = model.merge_and_unload()
        model.save_pretrained(folder)
        transformers.AutoTokenizer.from_pretrained(self.base).save_pretrained(folder)
        return num_steps

    def _batches(self, rows: Sequence[TrainingRow]) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """(ids, labels), each (rows, tokens); filled up on the right, where nothing is learned or looked back at."""
        renderer = load_renderer(self.base)
        encoded = [renderer.encode(row.messages) for row in rows]
        batches = []
        for start in range(0, len(encoded), MAX_ROWS):
            part = encoded[start : start + MAX_ROWS]
            width = max(len(each.ids) for each in part)
            ids = torch.zeros(len(part), width, dtype=torch.long)
            labels = torch.full_like(ids, _IGNORED)
            for number, each in enumerate(part):
                ids[number, : len(each.ids)] = torch.tensor(each.ids)
                span = each.answers[-1]
                labels[number, span.start : span.end] = ids[number, span.start : span.end]
            batches.append((ids, labels))
        return batches
