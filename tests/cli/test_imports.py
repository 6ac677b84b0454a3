"""What the command carries: `homefire --help` is immediate and the server holds no other command's libraries."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

CLIENTS_AND_SERVERS = [
    "httpx",
    "rich",
    "pygments",
    "prompt_toolkit",
    "fastapi",
    "pydantic",
    "msgspec",
    "torch",
]
CLIENTS = ["httpx", "rich", "prompt_toolkit", "torch"]
"""`pygments` is not among them: pages colour code with it."""
SHOW = "import json, sys; print(json.dumps(sorted(sys.modules)))"


def loaded_by(module: str) -> set[str]:
    code = f"import {module}; {SHOW}"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(shown.stdout))


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [("homefire.cli.main", CLIENTS_AND_SERVERS), ("homefire.cli.serve", CLIENTS)],
)
def test_a_command_loads_only_what_it_needs(module: str, unwanted: list[str]) -> None:
    assert loaded_by(module).isdisjoint(unwanted)


def test_control_what_is_loaded_is_seen() -> None:
    assert "httpx" in loaded_by("homefire.cli.client")
