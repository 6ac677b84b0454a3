"""What can be changed in one module, and a sample of it that is the same on every machine.

Mutations come from mutmut: a comparison moved by one, `and` for `or`, a number plus one, an argument dropped or
None, a condition of a ternary decided, a result not assigned. Text is left as it is: a message in other words is
not a defect that a test should find, and neither is a line of the log that lacks something.
"""

from __future__ import annotations

import ast
import difflib
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import libcst as cst
from libcst.metadata import MetadataWrapper, ParentNodeProvider, PositionProvider
from mutmut.mutation.file_mutation import Mutation, MutationVisitor
from mutmut.mutation.mutators import mutation_operators
from mutmut.mutation.pragma_handling import IgnoredCode

TEXT = (cst.SimpleString, cst.FormattedString, cst.ConcatenatedString)
LOGGING = frozenset({"debug", "info", "warning", "error", "exception", "critical"})
IGNORED_CALLS = frozenset({"cast"})
"""Calls whose arguments only a type checker reads."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change of one module. `place`, `line`, `before` and `after` name it, wherever the line moves."""

    module: str
    place: str
    line: str
    before: str
    after: str
    node: Mutation = field(compare=False, repr=False)
    tree: cst.Module = field(compare=False, repr=False)

    def render(self) -> str:
        """The whole changed file."""
        changed = self.tree.deep_replace(self.node.original_node, self.node.mutated_node)
        assert isinstance(changed, cst.Module)
        return changed.code

    def diff(self) -> str:
        """The change as lines that start with - and +."""
        lines = difflib.unified_diff(
            self.tree.code.splitlines(), self.render().splitlines(), self.module, "mutant", lineterm="", n=1
        )
        return "\n".join(lines)


def find_mutants(path: Path, *, module: str) -> list[Mutant]:
    """Every mutant of a file, each name once; those that cannot change what the program does are left out."""
    visitor = _Visitor(mutation_operators, IgnoredCode(set(), set(), set()))
    wrapper = MetadataWrapper(cst.parse_module(path.read_text()))
    tree = wrapper.visit(visitor)
    context = _Context(wrapper)
    found: dict[Mutant, None] = {}
    for mutation in visitor.mutations:
        if not isinstance(mutation.contained_by_top_level_function, cst.FunctionDef):
            continue  # constants and defaults of fields: a test would only repeat them
        if context.is_indifferent(mutation):
            continue
        before, after = (_one_line(tree, node) for node in (mutation.original_node, mutation.mutated_node))
        place, line = context.place_of(mutation.original_node), context.line_of(mutation.original_node)
        if before != after:
            found.setdefault(Mutant(module, place, line, before, after, mutation, tree))
    return list(found)


def sample(mutants: Iterable[Mutant], size: int | None) -> list[Mutant]:
    """Those with the lowest hashes: new code beside them does not change which ones are taken. None means all."""
    ranked = sorted(mutants, key=_rank)
    return ranked if size is None else ranked[:size]


def _rank(mutant: Mutant) -> str:
    name = "\0".join((mutant.module, mutant.place, mutant.line, mutant.before, mutant.after))
    return hashlib.sha256(name.encode()).hexdigest()


def _one_line(tree: cst.Module, node: cst.CSTNode) -> str:
    """The code of a node on one line, without its layout."""
    code = tree.code_for_node(node).strip()
    try:
        return ast.unparse(ast.parse(code))
    except SyntaxError:  # a part of an expression, such as `< 3`
        return " ".join(code.split())


class _Visitor(MutationVisitor):
    """mutmut leaves decorated functions out, which its own runner cannot replace; ours can, and they are the routes."""

    def _skip_node_and_children(self, node: cst.CSTNode) -> bool:
        if isinstance(node, cst.Decorator):
            return True
        if isinstance(node, cst.FunctionDef):
            node = node.with_changes(decorators=())
        return super()._skip_node_and_children(node)


class _Context:
    """Where a node of a module stands."""

    def __init__(self, wrapper: MetadataWrapper) -> None:
        self._parents: Any = wrapper.resolve(ParentNodeProvider)
        self._positions: Any = wrapper.resolve(PositionProvider)
        self._lines = wrapper.module.code.splitlines()

    def _above(self, node: cst.CSTNode) -> Iterator[cst.CSTNode]:
        while node in self._parents:
            node = self._parents[node]
            yield node

    def place_of(self, node: cst.CSTNode) -> str:
        """The class and function a node is in: `Writer.append`."""
        names = [
            above.name.value
            for above in self._above(node)
            if isinstance(above, cst.FunctionDef | cst.ClassDef)
        ]
        return ".".join(reversed(names))

    def line_of(self, node: cst.CSTNode) -> str:
        """The line that a node begins on; an operator has no place of its own, so it has its expression's."""
        placed = next(each for each in (node, *self._above(node)) if each in self._positions)
        return self._lines[self._positions[placed].start.line - 1].strip()

    def is_indifferent(self, mutation: Mutation) -> bool:
        """Whether only words, a line of the log or a type would change, or False would be None."""
        node, mutated = mutation.original_node, mutation.mutated_node
        if isinstance(node, TEXT) or any(isinstance(above, TEXT) for above in self._above(node)):
            return True
        if any(_is_ignored_call(above) for above in (node, *self._above(node))):
            return True
        if isinstance(node, cst.Call) and isinstance(mutated, cst.Call):
            lost = [argument for argument in node.args if argument not in mutated.args]
            return any(isinstance(argument.value, TEXT) for argument in lost)
        if not isinstance(node, cst.Assign | cst.AnnAssign):
            return False
        return isinstance(node.value, TEXT) or (
            isinstance(node.value, cst.Name) and node.value.value == "False"
        )


def _is_ignored_call(node: cst.CSTNode) -> bool:
    if not isinstance(node, cst.Call):
        return False
    if isinstance(node.func, cst.Name):
        return node.func.value in IGNORED_CALLS
    if not isinstance(node.func, cst.Attribute) or node.func.attr.value not in LOGGING:
        return False
    owner = node.func.value
    return isinstance(owner, cst.Name) and owner.value.strip("_").lower() in {"log", "logger"}
