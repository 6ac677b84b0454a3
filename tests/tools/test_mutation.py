"""The mutation tool: what it changes, what it takes for caught, and a list of accepted survivors that cannot rot."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tools.mutation.accepted import Accepted, load_accepted, stale
from tools.mutation.mutants import find_mutants, sample
from tools.mutation.slices import Slices

ROOT = Path(__file__).resolve().parents[2]
SOURCE = '''\
def limit(size: int | None, most: int = 9) -> int:
    """A number."""
    _log.warning("size %s", size)
    checked = cast(int, size)
    if checked > most:
        raise ValueError(f"{checked + 1} is too much")
    return min(checked, most)
'''
DOUBLE = "def double(number):\n    return 2 * number\n"
TESTS = """\
import subprocess, sys
from homefire.pack.mod import double, is_big, is_far

def test_in_a_child_process():
    code = "from homefire.pack.mod import double; print(double(4))"
    assert subprocess.check_output([sys.executable, "-c", code], cwd="/").strip() == b"8"

def test_big():
    assert is_big(9) and not is_big(1)

def test_far():
    assert is_far(9)
"""
MODULE = DOUBLE + (
    "def is_big(number):\n    return number > 5\n\n\ndef is_far(number):\n    return True if number > 5 else number\n"
)


@pytest.fixture
def module(tmp_path: Path) -> Path:
    path = tmp_path / "mod.py"
    path.write_text(SOURCE)
    return path


def test_what_only_people_and_type_checkers_read_is_left_alone(module: Path) -> None:
    changes = {(one.before, one.after) for one in find_mutants(module, module="pack/mod")}
    assert ("checked > most", "checked >= most") in {(b, a) for b, a in changes} or (
        "> most",
        ">= most",
    ) in changes
    text = " ".join(after for _, after in changes)
    assert "too much" not in text
    assert "warning" not in text
    assert "cast(None" not in text
    assert all(one.place == "limit" for one in find_mutants(module, module="pack/mod"))


def test_a_mutant_keeps_its_name_when_lines_move(module: Path) -> None:
    before = set(find_mutants(module, module="pack/mod"))
    module.write_text(DOUBLE + "\n\n" + SOURCE)
    assert before < set(find_mutants(module, module="pack/mod"))


def test_new_code_does_not_change_which_of_the_old_are_sampled_first(module: Path) -> None:
    old = find_mutants(module, module="pack/mod")
    order = sample(old, None)
    module.write_text(DOUBLE + "\n\n" + SOURCE)
    more = sample(find_mutants(module, module="pack/mod"), None)
    assert [one for one in more if one in old] == order
    assert sample(old, 2) == order[:2]


def test_an_accepted_survivor_that_names_no_mutant_is_stale(module: Path) -> None:
    mutants = find_mutants(module, module="pack/mod")
    first = mutants[0]
    known = Accepted("pack/mod", first.place, first.line, first.before, first.after, "why")
    gone = Accepted("pack/mod", "limit", "no such line", first.before, first.after, "why")
    assert stale([known, gone], mutants) == [gone]


def test_an_accepted_survivor_has_a_reason(tmp_path: Path) -> None:
    (tmp_path / "tests" / "mutation").mkdir(parents=True)
    entry = '[[accepted]]\nmodule = "a"\nplace = "b"\nline = "l"\nbefore = "c"\nafter = "d"\nreason = " "\n'
    (tmp_path / "tests" / "mutation" / "accepted.toml").write_text(entry)
    with pytest.raises(ValueError, match="reason"):
        load_accepted(tmp_path)


def test_every_module_of_the_table_has_tests() -> None:
    slices = Slices.load(ROOT)
    for one in slices.slices:
        for module in one.modules:
            assert any(name.endswith(".py") for name in slices.tests_of(module)), module
    assert slices.tests_of("versions/gate")[0] == "tests/versions/test_gate.py"
    with pytest.raises(ValueError, match="Slices: auth"):
        slices.chosen(["nothing"])


def test_the_list_of_accepted_survivors_is_about_the_code_as_it_is() -> None:
    entries = load_accepted(ROOT)
    for module in {entry.module for entry in entries}:
        mutants = find_mutants(ROOT / "src" / "homefire" / f"{module}.py", module=module)
        assert stale([entry for entry in entries if entry.module == module], mutants) == []


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with one module, tests that miss two of its mutants, and a table."""
    root = tmp_path / "checkout"
    for name, text in {
        "src/homefire/__init__.py": "",
        "src/homefire/pack/__init__.py": "",
        "src/homefire/pack/mod.py": MODULE,
        "tests/pack/test_mod.py": TESTS,
        "tests/mutation/slices.toml": 'without = []\n[slices]\npack = ["pack/*.py"]\n[tests]\n',
        "tests/mutation/accepted.toml": '[[accepted]]\nmodule = "pack/mod"\nplace = "is_far"\n'
        'line = "return True if number > 5 else number"\nbefore = "> 5"\nafter = ">= 5"\nreason = "A test."\n',
        "pyproject.toml": "[tool.pytest.ini_options]\naddopts = ['-q', '--import-mode=importlib']\n",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    return root


def python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Outside this process: the runner forks the one it is in."""
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_what_no_test_notices_survives_and_the_checkout_is_not_touched(
    checkout: Path, tmp_path: Path
) -> None:
    code = (
        "import sys; from pathlib import Path; from tools.mutation.__main__ import main\n"
        "sys.exit(main(['pack', '--all', '--json', sys.argv[2]], root=Path(sys.argv[1])))"
    )
    report = tmp_path / "report.json"
    done = python(code, str(checkout), str(report))
    assert done.returncode == 1, done.stdout + done.stderr
    (module,) = json.loads(report.read_text())["pack"]["modules"]
    survived = {(one["place"], one["after"]) for one in module["survived"]}
    assert ("is_big", ">= 5") in survived  # nobody asks about 5
    assert [(one["place"], one["after"]) for one in module["accepted"]] == [("is_far", ">= 5")]
    caught = {(one["place"], one["after"]): one["by"] for one in module["caught"]}
    assert caught["double", "2 / number"] == "tests/pack/test_mod.py::test_in_a_child_process"
    assert (checkout / "src/homefire/pack/mod.py").read_text() == MODULE
    assert not list(checkout.rglob("__pycache__"))


def test_a_run_without_an_end_is_ended_with_its_children(checkout: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from tools.mutation.runner import copied_checkout\n"
        "with copied_checkout(Path(sys.argv[1])) as runner:\n"
        "    file = Path('src/homefire/pack/mod.py')\n"
        "    with runner.changed(file, 'def double(n):\\n    while True: pass\\n' + "
        "'is_big = is_far = double'):\n"
        "        print(runner.run(['tests/pack/test_mod.py'], limit_s=5).code)\n"
        "    print(runner.run(['tests/pack/test_mod.py'], limit_s=60).code)"
    )
    assert python(code, str(checkout)).stdout.split() == ["None", "0"]
