"""Where a run computes."""

from __future__ import annotations

import torch

from homefire.errors import NotTrainable
from homefire.trainer.contract import Device


def choose_device(asked: Device) -> torch.device:
    """The device that was asked for; `auto`: the first GPU, else Apple's, else the CPU.

    Raises:
        NotTrainable: this machine, or this build of PyTorch, has no such device.
    """
    has = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    kind = next(name for name, is_there in has.items() if is_there) if asked == "auto" else asked
    if not has[kind]:
        raise NotTrainable(
            f"training.device is {kind}, but PyTorch {torch.__version__} finds no such device here.",
            hint="Set training.device to auto or cpu, or install a build of PyTorch for this device.",
            device=kind,
        )
    return torch.device(kind, 0) if kind == "cuda" else torch.device(kind)
