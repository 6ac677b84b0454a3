"""Point every link from the documentation to a line of code at the line where that name stands now.

    python -m tools.docs.line_links

A link such as ``[`Turns.run`](../src/homefire/chat/turn.py#L79)`` names a class, a function (methods and
inner functions with dots between) or a constant of a module. Its place is looked up in the syntax tree of the
linked file, so a page never points at a neighbour. A name that is not there any more is an error that says
where.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LINK = re.compile(r"\[`(?P<name>[\w.]+)(?:\(\))?`\]\((?P<path>[^)#\s]+\.py)#L(?P<line>\d+)\)")


@dataclass(frozen=True, slots=True)
class Pointed:
    """A page with its links as they should be, and the names that are not where they are looked for."""

    text: str
    lost: tuple[str, ...]


def pages() -> list[Path]:
    """The pages whose links are kept."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def find_line(file: Path, name: str) -> int | None:
    """The line on which `name` (`Class.method`) is defined in a Python file; None where it is not."""
    body: list[ast.stmt] = ast.parse(file.read_text(encoding="utf-8")).body
    line: int | None = None
    for part in name.split("."):
        found = next((node for node in _statements(body) if part in _names(node)), None)
        if found is None:
            return None
        line, body = found.lineno, getattr(found, "body", [])
    return line


def point(page: Path, text: str) -> Pointed:
    """`text` of `page` with the line of each link looked up anew."""
    lost: list[str] = []

    def corrected(link: re.Match[str]) -> str:
        file = (page.parent / link["path"]).resolve()
        line = find_line(file, link["name"]) if file.is_file() else None
        if line is None:
            lost.append(f"{page.name}: there is no {link['name']} in {link['path']}")
            return link[0]
        return f"{link[0].rpartition('#L')[0]}#L{line})"

    return Pointed(LINK.sub(corrected, text), tuple(lost))


def main() -> int:
    """Rewrite the pages whose links have moved; the exit code says whether every name was found."""
    lost: list[str] = []
    for page in pages():
        text = page.read_text(encoding="utf-8")
        pointed = point(page, text)
        lost.extend(pointed.lost)
        if pointed.text != text:
            page.write_text(pointed.text, encoding="utf-8")
    for complaint in lost:
        print(complaint, file=sys.stderr)
    return 1 if lost else 0


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements of a block, with those that stand inside its `if`, `try` and `with`."""
    for node in body:
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            inner = [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)]
            yield from _statements(inner)


def _names(node: ast.stmt) -> tuple[str, ...]:
    """What a statement defines."""
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return (node.name,)
        case ast.Assign(targets=targets):
            return tuple(target.id for target in targets if isinstance(target, ast.Name))
        case ast.AnnAssign(target=ast.Name(id=name)):
            return (name,)
    return ()


if __name__ == "__main__":
    sys.exit(main())
