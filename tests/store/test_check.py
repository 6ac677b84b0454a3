from __future__ import annotations

from pathlib import Path

import pytest

from homefire.errors import CorruptData
from homefire.home import Home
from homefire.store import projections
from homefire.store.store import Store
from tests.store.backends import Backend
from tests.store.conftest import Opener
from tests.store.samples import alias, dataset, example, model, run, turn, version, whole_turn


@pytest.fixture
def filled(store: Store) -> Store:
    manifest = store.blobs.put_bytes(b"manifest")
    store.append_sync(model(), alias("live", "ember"), version(manifest_sha256=manifest))
    store.append_sync(*whole_turn("1"), example("a"), dataset("1", "a"), run("1", "1"))
    return store


def test_a_sound_store_is_found_sound(filled: Store) -> None:
    digest = filled.blobs.put_bytes(b"one")
    report = filled.check(full=True)
    assert report.is_sound
    assert (report.num_events, report.num_blobs, report.blob_bytes) == (8, 2, 11)
    assert report.num_rows == 13
    assert filled.blobs.exists(digest)


@pytest.mark.parametrize(
    ("statement", "finding"),
    [
        ("UPDATE aliases SET target = 'v001'", "Table aliases, row live differs from the log in target"),
        (
            "UPDATE turns SET verdict = 'good', answer = 7",
            "Table turns, row 4 differs from the log in answer, verdict",
        ),
        ("DELETE FROM runs", "Table runs lacks the row run-1"),
        ("INSERT INTO keys VALUES ('k', 'n', 's', 1.0, NULL)", "Table keys has a row k that no event made"),
        ("UPDATE dataset_examples SET position = 5", "Table dataset_examples"),
    ],
)
def test_an_edited_projection_is_named_and_rebuilt(
    backend: Backend, filled: Store, statement: str, finding: str
) -> None:
    backend.execute(statement)
    problems = filled.check().problems
    assert any(problem.startswith(finding) for problem in problems), problems
    filled.rebuild()
    assert filled.check().is_sound


def test_an_edited_event_is_found(backend: Backend, filled: Store) -> None:
    backend.unlock_log()
    backend.execute("UPDATE events SET payload = hash WHERE seq = 2")
    (problem,) = filled.check().problems
    assert "Event 2 of the log" in problem


def test_nothing_is_rebuilt_from_a_log_that_was_edited(backend: Backend, filled: Store) -> None:
    backend.unlock_log()
    backend.execute("UPDATE events SET payload = hash WHERE seq = 2")
    with pytest.raises(CorruptData, match="Event 2"):
        filled.rebuild()
    row = filled.aliases.get("live")
    assert row is not None
    assert row.target == "ember"


def test_a_row_that_is_gone_is_found(backend: Backend, filled: Store) -> None:
    backend.execute("DELETE FROM datasets")
    problems = filled.check().problems
    assert "Table datasets lacks the row ds-1 that the log has." in problems


def test_a_flipped_byte_of_a_blob_is_found_by_a_full_check(filled: Store) -> None:
    digest = filled.blobs.put_bytes(b"one")
    filled.blobs.path(digest).chmod(0o600)
    filled.blobs.path(digest).write_bytes(b"onE")
    assert filled.check().is_sound
    (problem,) = filled.check(full=True).problems
    assert digest in problem


def test_a_version_without_its_manifest_is_found(filled: Store) -> None:
    row = filled.versions.get("v001")
    assert row is not None
    filled.blobs.path(row.manifest_sha256).unlink()
    (problem,) = filled.check().problems
    assert problem == f"The manifest of version v001 (blob {row.manifest_sha256}) is not there."


def test_every_table_is_compared(backend: Backend, filled: Store) -> None:
    others = backend.tables() - projections.LOG_TABLES
    assert {table.name for table in projections.TABLES} == others


def test_a_damaged_page_is_noticed_at_open(home: Home, open_here: Opener) -> None:
    store = open_here()
    for number in range(40):
        store.append_sync(turn(str(number), session=f"s{number}"))
    store.close()
    data = bytearray(home.database.read_bytes())
    for page in range(3, len(data) // 4096):
        data[page * 4096 : page * 4096 + 64] = b"\xff" * 64
    home.database.write_bytes(data)
    with pytest.raises(CorruptData, match="damaged"):
        open_here()


def test_a_file_that_is_no_database_is_named(home: Home, open_here: Opener) -> None:
    home.create()
    Path(home.database).write_bytes(b"these are not the pages you are looking for" * 100)
    with pytest.raises(CorruptData, match=r"homefire\.db is damaged"):
        open_here()


def test_the_check_leaves_nothing_behind(home: Home, filled: Store) -> None:
    filled.check()
    assert list(home.cache.iterdir()) == []
