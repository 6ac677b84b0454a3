"""Make everything in the documentation that can be made from the code.

    python -m tools.docs.all          # or: make docs

Pages that are current already are not touched. Tests hold that all of them are.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from tools.docs import api_reference, cli_reference, error_reference, events_reference, line_links

from homefire.config.json_schema import published_files

REFERENCE = line_links.ROOT / "docs" / "reference"
GENERATORS = (api_reference, cli_reference, error_reference, events_reference)


def generated() -> Iterator[tuple[Path, str]]:
    """Each generated page with what should stand in it."""
    for generator in GENERATORS:
        yield generator.PAGE, generator.make_page()
    for name, content in published_files().items():
        yield REFERENCE / name, content


def main() -> int:
    """Write what is not current and say so; the exit code says whether every link to a line was found."""
    for page, content in generated():
        if not page.exists() or page.read_text(encoding="utf-8") != content:
            page.write_text(content, encoding="utf-8")
            print(f"made {page.relative_to(line_links.ROOT)}")
    return line_links.main()


if __name__ == "__main__":
    sys.exit(main())
