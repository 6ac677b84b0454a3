"""Requests as official and third-party clients send them: answered, or refused naming the right field.

    python -m bench.client_corpus

The cases are those of `tests/api/corpus`: tables of what clients send for each field, combined so that every two
values meet, for all dialects.
"""

from __future__ import annotations

from tests.api.corpus import count_right

from bench.results import record

COMMAND = "python -m bench.client_corpus"


def main() -> None:
    """Measure and record."""
    num_cases, num_right = count_right()
    record(
        f"requests of clients that were answered, or refused naming the right field, of {num_cases:,}",
        num_right,
        "requests",
        reach=f"{num_cases} (at least 600 cases)",
        better="higher",
        command=COMMAND,
    )


if __name__ == "__main__":
    main()
