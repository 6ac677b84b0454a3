"""Prints `bench/results` as a table. Run with `make bench-table`."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from bench.results import AREAS, load_rows


def main() -> None:
    """One table an area."""
    console = Console()
    for area in AREAS:
        rows = load_rows(area)
        if not rows:
            continue
        table = Table("what", "value", "unit", "reach", "peer", "command", "date", title=area)
        for row in rows:
            peer = f"{row['peer']}: {row['peer_value']}" if row["peer"] else ""
            table.add_row(
                row["what"], str(row["value"]), row["unit"], row["reach"], peer, row["command"], row["date"]
            )
        console.print(table)


if __name__ == "__main__":
    main()
