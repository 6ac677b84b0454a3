from __future__ import annotations

import tomllib
from pathlib import Path

import msgspec
import pytest

from homefire.config.json_schema import main, published_files, settings_json_schema
from homefire.config.schema import iter_keys

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"


@pytest.mark.parametrize("name", published_files())
def test_the_published_files_are_current(name: str) -> None:
    """When this fails: `python -m homefire.config.json_schema docs/reference`."""
    assert (REFERENCE / name).read_text(encoding="utf-8") == published_files()[name]


def test_every_setting_is_documented() -> None:
    page = (REFERENCE / "settings.md").read_text(encoding="utf-8")
    schema = settings_json_schema()
    for key in iter_keys():
        assert len(key.description) > 10, key.dotted
        assert key.description in page
        assert key.variable in page
        section = schema["properties"][key.section]["$ref"].rpartition("/")[2]
        assert schema["$defs"][section]["properties"][key.name]["description"] == key.description


def test_unknown_keys_and_sections_are_outside_the_schema() -> None:
    schema = settings_json_schema()
    assert schema["additionalProperties"] is False
    assert all(section["additionalProperties"] is False for section in schema["$defs"].values())


def test_a_variable_may_stand_for_any_value() -> None:
    port = settings_json_schema()["$defs"]["ServerSettings"]["properties"]["port"]
    kinds = [variant["type"] for variant in port["anyOf"]]
    assert kinds == ["integer", "string"]
    assert port["anyOf"][1]["pattern"] == r"\$\{"


def test_the_files_can_be_made_again(tmp_path: Path) -> None:
    main(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(published_files())
    assert msgspec.json.decode((tmp_path / "settings.schema.json").read_bytes()) == settings_json_schema()


def test_every_default_can_be_written_in_the_file() -> None:
    for key in iter_keys():
        if key.default is not None:
            text = msgspec.json.encode(key.default).decode()
            assert tomllib.loads(f"x = {text}")
