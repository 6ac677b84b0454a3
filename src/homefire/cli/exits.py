"""What each exit code of the command line means: one table, printed by `--help` and by the documentation.

The codes themselves live with the errors (`homefire.errors`); a test holds that none is missing here.
"""

from __future__ import annotations

EXIT_CODES: dict[int, str] = {
    0: "done",
    1: "an unexpected error; please report it",
    2: "wrong usage or an invalid request",
    3: "a setting is wrong (unknown key, wrong type, contradiction)",
    4: "what was named does not exist",
    5: "not possible in this state (deleting what is live, resuming what is not paused)",
    6: "no key, a wrong key, or not allowed",
    7: "too many requests are waiting; try again later",
    8: "the engine could not answer; the request may be repeated",
    9: "the store cannot do this (full, read-only, corrupt)",
    10: "the model is broken, unsafe, or cannot be taught here",
    11: "another server owns this home",
    12: "the port is taken",
    13: "no server answers; start one with `homefire up`",
    14: "a run ended without a promoted version (failed, stopped, or refused by the gate)",
    20: "a promise is broken (`demo`, `doctor`, `versions verify`)",
    130: "interrupted with Ctrl-C, or answered with no",
    141: "who read the output went away (`homefire … | head`)",
}


def epilog() -> str:
    """The table as lines for the end of `homefire --help`."""
    lines = (f"{code:>4}  {meaning}" for code, meaning in EXIT_CODES.items())
    return "Exit codes:\n\n\b\n" + "\n".join(lines)
