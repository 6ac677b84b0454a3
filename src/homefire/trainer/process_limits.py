"""The limits a trainer sets on itself, so that it takes only the processor time nobody else wants.

Without this an answer beside a run waits several times longer; with one thread, the lowest priority and
idle scheduling it waits hardly at all. Linux; what the system does not permit is left as it was.
"""

from __future__ import annotations

import contextlib
import os

LOWEST_PRIORITY = 19


def lower_priority(nice: int) -> None:
    """Lower this process's priority; at the lowest it runs only when a processor is otherwise idle."""
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, nice)
    if nice < LOWEST_PRIORITY:
        return
    for policy in (os.SCHED_IDLE, os.SCHED_BATCH):
        try:
            os.sched_setscheduler(0, policy, os.sched_param(0))
        except PermissionError:
            continue
        return


def limit_threads(num_threads: int) -> None:
    """Fix the number of threads of the numeric libraries, asleep while they wait. Before those are
    imported."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(num_threads)
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    # On a GPU the same sums give the same bits only with a fixed workspace.
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"


def stay_offline() -> None:
    """Tell the model libraries that nothing is to be fetched. Before those are imported."""
    for name in (
        "HF_HUB_OFFLINE",
        "TRANSFORMERS_OFFLINE",
        "HF_HUB_DISABLE_TELEMETRY",
        "HF_HUB_DISABLE_PROGRESS_BARS",
    ):
        os.environ[name] = "1"
