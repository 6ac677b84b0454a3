"""The shipped files of ember: small, hashed in the card, valid, and the probes not in the replay rows."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from pathlib import Path

import pytest

from homefire.bundled import ember_path
from homefire.versions.probes import MAX_PROTECTED

MAX_SIZE_BYTES = 6 * 1024 * 1024
REQUIRED = (
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "probes.jsonl",
    "replay.jsonl",
    "README.md",
)


def read_rows(name: str) -> list[dict]:
    return [json.loads(line) for line in (ember_path() / name).read_text(encoding="utf-8").splitlines()]


def mismatches(folder: Path) -> list[str]:
    """Files whose bytes differ from the hash the card states."""
    card = (folder / "README.md").read_text(encoding="utf-8")
    stated = dict(re.findall(r"^\| `([\w.]+)` \| [\d,]+ \| `([0-9a-f]{64})` \|$", card, flags=re.MULTILINE))
    assert set(stated) == set(REQUIRED) - {"README.md"}
    return [
        name
        for name, digest in stated.items()
        if hashlib.sha256((folder / name).read_bytes()).hexdigest() != digest
    ]


def last_question(row: dict) -> str:
    """The last user message, without case and marks."""
    text = [m["content"] for m in row["messages"] if m["role"] == "user"][-1]
    return "".join(char for char in text.lower() if char.isalnum() or char in "+-*/")


def questions(row: dict) -> set[str]:
    return {
        "".join(char for char in m["content"].lower() if char.isalnum() or char in "+-*/")
        for m in row["messages"]
        if m["role"] == "user"
    }


def test_every_file_is_there_and_the_folder_is_small() -> None:
    assert sorted(path.name for path in ember_path().iterdir()) == sorted(REQUIRED)
    assert sum(path.stat().st_size for path in ember_path().iterdir()) <= MAX_SIZE_BYTES


def test_card_states_the_hashes_of_the_files() -> None:
    assert mismatches(ember_path()) == []


def test_a_flipped_byte_is_noticed_against_the_card(tmp_path: Path) -> None:
    for name in REQUIRED:
        (tmp_path / name).write_bytes((ember_path() / name).read_bytes())
    weights = bytearray((tmp_path / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (tmp_path / "model.safetensors").write_bytes(weights)
    assert mismatches(tmp_path) == ["model.safetensors"]


def test_probes_are_well_formed_and_cover_every_skill() -> None:
    from ember.skills import all_skills

    probes = read_rows("probes.jsonl")
    counts = Counter(probe["skill"] for probe in probes)
    assert min(counts.values()) >= 12
    assert len(probes) <= MAX_PROTECTED
    assert len({probe["id"] for probe in probes}) == len(probes)
    assert {probe["skill"] for probe in probes} == {skill.name for skill in all_skills()}
    for probe in probes:
        assert set(probe) == {"id", "skill", "messages", "answer"}
        assert probe["messages"][-1]["role"] == "user"
        assert probe["answer"]
    assert sum(len([m for m in probe["messages"] if m["role"] == "user"]) > 1 for probe in probes) >= 20


def test_replay_rows_end_with_an_answer_and_cover_every_skill_evenly() -> None:
    from ember.skills import all_skills

    rows = read_rows("replay.jsonl")
    assert 600 <= len(rows) <= 1000
    for row in rows:
        assert set(row) == {"skill", "messages"}
        roles = [message["role"] for message in row["messages"] if message["role"] != "system"]
        assert roles == ["user", "assistant"] * (len(roles) // 2)
        assert roles
    counts = {skill.name: sum(row["skill"] == skill.name for row in rows) for skill in all_skills()}
    assert min(counts.values()) >= 10
    assert max(counts.values()) <= 3 * min(counts.values())


def overlap(probes: list[dict], replay: list[dict]) -> set[str]:
    """Questions that are both protected and replayed."""
    replayed = set().union(*(questions(row) for row in replay))
    return {last_question(probe) for probe in probes} & replayed


def test_no_protected_question_is_in_the_replay_rows() -> None:
    probes, replay = read_rows("probes.jsonl"), read_rows("replay.jsonl")
    assert overlap(probes, replay) == set()


def test_a_protected_question_planted_in_the_replay_rows_is_noticed() -> None:
    probes, replay = read_rows("probes.jsonl"), read_rows("replay.jsonl")
    planted = {"skill": probes[0]["skill"], "messages": probes[0]["messages"]}
    assert overlap(probes, [*replay, planted]) != set()


@pytest.mark.parametrize("name", ["config.json", "generation_config.json"])
def test_stop_token_is_the_end_of_a_message(name: str) -> None:
    folder = ember_path()
    vocabulary = {
        token["content"]: token["id"]
        for token in json.loads((folder / "tokenizer.json").read_text())["added_tokens"]
    }
    assert json.loads((folder / name).read_text())["eos_token_id"] == vocabulary["<|im_end|>"]


def test_config_is_a_qwen3_with_room_for_a_long_chat() -> None:
    config = json.loads((ember_path() / "config.json").read_text())
    assert config["architectures"] == ["Qwen3ForCausalLM"]
    assert config["max_position_embeddings"] >= 1024
