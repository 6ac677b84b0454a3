from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from homefire.cli.arguments import complete_model, complete_run, complete_session, complete_version
from homefire.cli.doctor_checks import card_hashes, check_ember
from homefire.cli.up import read_assignments
from homefire.config.schema import StoreSettings
from homefire.errors import CorruptData, HomeInUse, InvalidRequest, NotFound
from homefire.home import Home
from homefire.store.driver import driver
from homefire.store.store import open_store
from homefire.world import World
from tests.cli.conftest import Command, Result
from tests.cli.fake_server import FakeServer
from tests.store.samples import alias, dataset, example, model, version, whole_turn


def test_config_shows_every_setting_and_where_it_comes_from(
    offline: Command, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.mkdir()
    (home / "homefire.toml").write_text("[chat]\nmax_tokens = 64\n")
    monkeypatch.setenv("HOMEFIRE_SERVER__PORT", "9000")
    result = offline("config", "show", "--origin")
    lines = {line.split()[0]: line for line in result.out.splitlines()}
    assert "64" in lines["chat.max_tokens"]
    assert "homefire.toml" in lines["chat.max_tokens"]
    assert lines["server.port"].endswith("HOMEFIRE_SERVER__PORT")
    assert lines["server.host"].endswith("default")
    document = offline("config", "show", "--json").document
    assert document["settings"]["server"]["port"] == 9000
    assert "origins" not in document


def test_config_check_names_the_mistake_and_the_nearest_key(offline: Command, home: Path) -> None:
    assert offline("config", "check").code == 0
    home.mkdir()
    (home / "homefire.toml").write_text("[chat]\nmax_tokenz = 64\n")
    result = offline("config", "check")
    assert result.code == 3
    assert "chat.max_tokens" in result.err


def test_config_schema_is_a_json_schema(offline: Command) -> None:
    assert "properties" in offline("config", "schema").document


def test_secrets_are_not_shown(offline: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOMEFIRE_API_KEY", "hf-" + "canary" * 8)
    for arguments in (("config", "show"), ("config", "show", "--json"), ("doctor",), ("status",)):
        result = offline(*arguments)
        assert "canary" not in result.out + result.err


def test_doctor_finds_nothing_wrong_with_a_fresh_home(offline: Command) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    os.environ["HOMEFIRE_SERVER__PORT"] = str(port)
    try:
        result = offline("doctor", "--json")
    finally:
        del os.environ["HOMEFIRE_SERVER__PORT"]
    assert result.code == 0
    assert result.document["ok"]
    assert {check["name"] for check in result.document["checks"]} >= {
        "python",
        "sqlite",
        "ember",
        "disk",
        "port",
        "key",
    }


def test_doctor_says_what_is_wrong_why_and_what_to_do(
    offline: Command, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "credentials").mkdir(parents=True, mode=0o700)
    home.chmod(0o755)
    key = home / "credentials" / "api_key"
    key.write_text("hf-" + "x" * 43)
    key.chmod(0o644)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        monkeypatch.setenv("HOMEFIRE_SERVER__PORT", str(taken.getsockname()[1]))
        result = offline("doctor")
    assert result.code == 20
    assert f"chmod 600 {key}" in result.out
    assert f"chmod 700 {home}" in result.out
    assert f"(process {os.getpid()})" in result.out
    assert "2 of 18 checks failed: port, key." in result.err


def test_doctor_reports_settings_it_cannot_read_instead_of_failing(offline: Command, home: Path) -> None:
    home.mkdir()
    (home / "homefire.toml").write_text("[chat\n")
    result = offline("doctor", "--json")
    assert result.code == 20
    found = {check["name"]: check["status"] for check in result.document["error"]["details"]["checks"]}
    assert found["settings"] == "fail"
    assert found["python"] == "pass"


def test_doctor_notices_a_flipped_byte_in_the_bundled_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    from homefire import bundled

    assert check_ember().status == "pass"
    copy = tmp_path / "ember"
    shutil.copytree(bundled.ember_path(), copy)
    assert len(card_hashes(copy)) >= 6
    weights = bytearray((copy / "model.safetensors").read_bytes())
    weights[len(weights) // 2] ^= 1
    (copy / "model.safetensors").write_bytes(weights)
    monkeypatch.setattr(bundled, "ember_path", lambda: copy)
    found = check_ember()
    assert (found.status, found.what) == ("fail", "changed: model.safetensors")


@pytest.fixture
def filled(home: Path) -> Path:
    """A home that holds data and that no server uses."""
    with open_store(Home(home), StoreSettings(), World()) as store:
        store.append_sync(model(), alias("live", "ember"), *whole_turn("1"), example("a"), dataset("1", "a"))
        store.blobs.put_bytes(b"something")
    return home


def edit(home: Path, *statements: str) -> None:
    connection = driver.connect(Home(home).database)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


def store_check(result: Result) -> dict[str, str]:
    """What `doctor --json` says of the store."""
    document = result.document
    checks = document["checks"] if "checks" in document else document["error"]["details"]["checks"]
    (found,) = [check for check in checks if check["name"] == "store"]
    return dict(found)


def test_doctor_checks_the_data_of_a_home_and_changes_nothing(offline: Command, filled: Path) -> None:
    found = store_check(offline("doctor", "--json", "--full"))
    assert found["status"] == "pass"
    assert found["what"] == "whole: database, hash chain and tables agree, every blob hashed"
    edit(filled, "UPDATE aliases SET target = 'v001'")
    for _ in range(2):
        result = offline("doctor", "--json")
        assert result.code == 20
        found = store_check(result)
        assert found["status"] == "fail"
        assert "Table aliases, row live differs from the log in target" in found["what"]
        assert "homefire doctor --rebuild" in found["todo"]


def test_doctor_rebuilds_a_damaged_table_and_says_what_differed(offline: Command, filled: Path) -> None:
    edit(filled, "UPDATE aliases SET target = 'v001'", "DELETE FROM feedback", "DELETE FROM dataset_examples")
    result = offline("doctor", "--rebuild")
    assert result.code == 0
    assert "Table aliases, row live differs from the log in target." in result.out
    assert "Table dataset_examples lacks the row" in result.out
    assert "Rebuilt from 6 events" in result.out
    assert store_check(offline("doctor", "--json"))["status"] == "pass"
    again = offline("doctor", "--rebuild", "--json")
    assert again.document == {"ok": True, "num_events": 6, "differed": []}


def test_doctor_rebuilds_nothing_while_a_server_uses_the_home(offline: Command, filled: Path) -> None:
    edit(filled, "UPDATE aliases SET target = 'v001'")
    with open_store(Home(filled), StoreSettings(), World()) as store:
        result = offline("doctor", "--rebuild")
        assert "in use by another Homefire" in result.err
        assert result.code == HomeInUse.exit_code
        assert not store.check().is_sound


def test_doctor_rebuilds_nothing_from_a_damaged_log(offline: Command, filled: Path) -> None:
    edit(
        filled,
        "DROP TRIGGER events_are_never_edited",
        "UPDATE events SET payload = replace(payload, 'ember', 'amber') WHERE seq = 2",
    )
    result = offline("doctor", "--rebuild")
    assert result.code == CorruptData.exit_code
    connection = driver.connect(Home(filled).database)
    assert connection.execute("SELECT target FROM aliases").fetchall() == [("ember",)]
    connection.close()


def test_doctor_rebuilds_nothing_where_nothing_is(offline: Command, home: Path) -> None:
    result = offline("doctor", "--rebuild")
    assert result.code == NotFound.exit_code
    assert "nothing to rebuild" in result.err
    assert not home.exists()


def test_a_rebuild_says_what_it_cannot_heal(offline: Command, filled: Path) -> None:
    with open_store(Home(filled), StoreSettings(), World()) as store:
        digest = store.blobs.put_bytes(b"manifest")
        store.append_sync(version(manifest_sha256=digest))
        store.blobs.path(digest).unlink()
    result = offline("doctor", "--rebuild")
    assert result.code == 20
    assert "The manifest of version v001" in result.err


def test_assignments_are_section_key_value() -> None:
    assert read_assignments(["chat.max_tokens=64", "chat.system_prompt = a=b "]) == {
        "chat.max_tokens": "64",
        "chat.system_prompt": "a=b",
    }
    for wrong in ("chat.max_tokens", "max_tokens=3"):
        with pytest.raises(InvalidRequest, match=r"section\.key=value"):
            read_assignments([wrong])


class Context:
    """As much of a Typer context as completion looks at."""

    parent = None

    def __init__(self, **params: Any) -> None:
        self.params = params


def test_names_are_completed_from_the_server(
    server: FakeServer, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOMEFIRE_URL", server.url)
    context = Context()
    assert complete_model(context, "em") == [("ember", "base")]  # type: ignore[arg-type]
    assert [name for name, _ in complete_version(context, "")] == ["v001", "v002", "live"]  # type: ignore[arg-type]
    assert [about for _, about in complete_run(context, "run")] == ["done"]  # type: ignore[arg-type]
    assert complete_session(context, "") == [("session_1", "Hello")]  # type: ignore[arg-type]


def test_completion_asks_the_server_that_the_line_names(
    server: FakeServer, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOMEFIRE_URL", "http://127.0.0.1:9")
    context = Context(home_=None, url_=None, key_=None)
    context.parent = Context(home=None, url=server.url, key=None)  # type: ignore[assignment]
    assert complete_model(context, "em") == [("ember", "base")]  # type: ignore[arg-type]
    context.parent = Context(home=home, url=None, key=None)  # type: ignore[assignment]
    assert complete_model(context, "em") == []  # type: ignore[arg-type]


def test_a_title_cannot_act_on_the_shell_that_completes(
    server: FakeServer, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOMEFIRE_URL", server.url)
    title = "a`rm`$(b)\"'\x1b]0;x\x07\nc"
    server.state.sessions[:] = [msgspec.structs.replace(server.state.sessions[0], title=title)]
    ((_, about),) = complete_session(Context(), "")  # type: ignore[arg-type]
    assert re.fullmatch(r"[\w .,:;?+-]*", about)


def test_completion_is_silent_without_a_server(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOMEFIRE_URL", "http://127.0.0.1:9")
    assert complete_model(Context(), "") == []  # type: ignore[arg-type]


def test_the_shell_gets_completions(server: FakeServer, home: Path) -> None:
    environ = {
        **os.environ,
        "HOMEFIRE_URL": server.url,
        "_HOMEFIRE_COMPLETE": "complete_bash",
        "COMP_WORDS": "homefire models show em",
        "COMP_CWORD": "3",
    }
    done = subprocess.run(
        [sys.executable, "-m", "homefire"],
        env=environ,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.stdout.split() == ["ember"], done.stderr


def test_help_lists_every_exit_code_and_imports_nothing_heavy(home: Path) -> None:
    code = (
        "import sys, homefire.cli.main as main\n"
        "code = main.run(['--help'])\n"
        "heavy = {'rich', 'httpx', 'prompt_toolkit', 'pydantic', 'sqlalchemy', 'fastapi', 'torch', 'numpy'}\n"
        "print(code, sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout.splitlines()[-1] == "0 []"
    assert "13  no server answers" in done.stdout


def test_a_group_alone_lists_its_commands(offline: Command) -> None:
    for arguments in ((), ("runs",), ("versions",)):
        result = offline(*arguments)
        assert result.code == 0
        assert "Commands:" in result.out


def test_every_command_has_json(offline: Command) -> None:
    from typer.main import get_command

    from homefire.cli.main import build

    def walk(command: object, path: tuple[str, ...]) -> list[tuple[str, ...]]:
        children = getattr(command, "commands", None)
        if not children:
            options = {option for parameter in command.params for option in parameter.opts}  # type: ignore[attr-defined]
            return [] if {"--json", "--home", "--url", "--key"} <= options else [path]
        return [found for name, child in children.items() for found in walk(child, (*path, name))]

    assert walk(get_command(build()), ()) == []


def test_the_version_is_printed(offline: Command) -> None:
    assert offline("--version").out.startswith("homefire 0.")
    assert json.dumps(offline("--version").code) == "0"
