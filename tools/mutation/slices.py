"""Which modules a slice has, and which tests belong to each of them.

A module's tests are, in this order: the file that mirrors it (`tests/versions/test_gate.py` for `versions/gate.py`),
the files of the same package that import it, and what `tests/mutation/slices.toml` adds. Where that is nothing, all
files of the package.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path("src/homefire")
TABLE = Path("tests/mutation/slices.toml")
ON_A_SERVER = "postgresql"
"""Is in the name of every test that needs a database server."""


@dataclass(frozen=True, slots=True)
class Slice:
    """Modules that are measured and counted together, as names below `homefire` (`versions/gate`)."""

    name: str
    modules: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Slices:
    """The slices of the table, in its order."""

    root: Path
    slices: tuple[Slice, ...]
    extra: dict[str, tuple[str, ...]]
    without: tuple[str, ...]

    @classmethod
    def load(cls, root: Path) -> Slices:
        """Read the table; raises ValueError when it names a module or a test file that does not exist."""
        table = tomllib.loads((root / TABLE).read_text())
        slices = tuple(_slice(root, name, patterns) for name, patterns in table["slices"].items())
        known = {module for one in slices for module in one.modules}
        extra = {module: tuple(tests) for module, tests in table["tests"].items()}
        without = tuple(table["without"])
        wrong = [f"the module {module} is in no slice" for module in extra if module not in known]
        named = {test for tests in extra.values() for test in tests} | set(without)
        wrong += [
            f"the test file {test} does not exist" for test in sorted(named) if not (root / test).exists()
        ]
        if wrong:
            raise ValueError(f"{TABLE}: {'; '.join(wrong)}.")
        return cls(root, slices, extra, without)

    def chosen(self, names: list[str]) -> list[Slice]:
        """The slices that are named by their name, or the parts of them that are named by module; none means all."""
        if not names:
            return list(self.slices)
        found = []
        for name in names:
            wanted = name.removeprefix(f"{SOURCE}/").removesuffix(".py").strip("/")
            parts = [one for one in self.slices if one.name == wanted]
            parts += [Slice(one.name, (wanted,)) for one in self.slices if wanted in one.modules][:1]
            if not parts:
                known = ", ".join(one.name for one in self.slices)
                raise ValueError(f"There is no slice or module {name} in {TABLE}. Slices: {known}.")
            found.append(parts[0])
        return found

    def tests_of(self, module: str) -> list[str]:
        """What pytest is asked to run for a module: its test files, the one that mirrors it first."""
        package, _, name = module.rpartition("/")
        while not (self.root / "tests" / package).is_dir():  # store/nouns is tested in tests/store
            package = package.rpartition("/")[0]
        files = sorted((self.root / "tests" / package).glob("test_*.py"))
        found = [file for file in files if file.name == f"test_{name}.py"]
        found += [file for file in files if _imports(file.read_text(), module)]
        names = [str(file.relative_to(self.root)) for file in found] + list(self.extra.get(module, ()))
        names = names or [str(file.relative_to(self.root)) for file in files]
        named = self.extra.get(module, ())
        names = [name for name in dict.fromkeys(names) if name not in self.without or name in named]
        return names if any(ON_A_SERVER in name for name in names) else [*names, "-k", f"not {ON_A_SERVER}"]


def _slice(root: Path, name: str, patterns: list[str]) -> Slice:
    """The modules that the patterns of a slice find; a pattern that finds none is an error."""
    modules: dict[str, None] = {}
    for pattern in patterns:
        files = sorted((root / SOURCE).glob(pattern))
        if not files:
            raise ValueError(f"{TABLE}: the slice {name} names {pattern}, and there is no such file.")
        modules |= {
            str(file.relative_to(root / SOURCE).with_suffix("")): None
            for file in files
            if file.stem != "__init__"
        }
    return Slice(name, tuple(modules))


def _imports(text: str, module: str) -> bool:
    dotted = "homefire." + module.replace("/", ".")
    parent, _, name = dotted.rpartition(".")
    pattern = (
        rf"^\s*(from|import) {re.escape(dotted)}\b|^\s*from {re.escape(parent)} import [^#\n]*\b{name}\b"
    )
    return re.search(pattern, text, re.MULTILINE) is not None
