"""What a worker does ahead of its run: load every library a run needs, the ones they load at first use included.

Importing alone leaves a second of work for the first step, so one step of a model of a few numbers is taken. The run
that follows sets its random generators, threads and modes itself: its bits are the same as in a fresh process.
Costs a few seconds of processor time and about 350 MB, most of it libraries.
"""

from __future__ import annotations

import torch
import transformers
from transformers.models.llama import modeling_llama

from homefire.trainer import trainer  # noqa: F401 - for the modules it loads


def warm_up(num_threads: int) -> None:
    """Load and use everything once. Call it before the first run of this process, with its number of threads."""
    torch.set_num_threads(num_threads)
    config = transformers.LlamaConfig(
        vocab_size=8,
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
    )
    model = modeling_llama.LlamaForCausalLM(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.0, foreach=True)
    ids = torch.zeros((2, 4), dtype=torch.long)
    loss = torch.nn.functional.cross_entropy(model(input_ids=ids).logits.flatten(0, 1), ids.flatten())
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
