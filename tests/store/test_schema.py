from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from homefire.errors import StoreError
from homefire.home import Home
from homefire.store import schema
from homefire.store.driver import Connection, driver
from homefire.store.schema import MIGRATIONS, NEWEST_REVISION, REVISIONS, create_schema, migrate
from tests.store.conftest import Opener
from tests.store.samples import turn


def definitions(connection: Connection) -> dict[str, str]:
    """Every table, index and trigger with its text, spelling differences aside."""
    rows = connection.execute("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL")
    return {name: " ".join(sql.replace("(", " ( ").replace(")", " ) ").split()) for name, sql in rows}


def execute(database: Path, statement: str) -> None:
    connection = driver.connect(database)
    connection.execute(statement)
    connection.commit()
    connection.close()


def test_migrations_lead_to_the_schema_that_new_homes_get(tmp_path: Path) -> None:
    migrate(tmp_path / "migrated.db")
    made = driver.connect(":memory:")
    create_schema(made)
    migrated = driver.connect(tmp_path / "migrated.db")
    assert definitions(migrated) == definitions(made)
    assert migrated.execute("SELECT version_num FROM alembic_version").fetchall() == [(NEWEST_REVISION,)]


def test_every_migration_is_known() -> None:
    files = sorted(path.name.partition("_")[0] for path in (MIGRATIONS / "versions").glob("[0-9]*.py"))
    assert tuple(files) == REVISIONS


def test_a_home_of_a_newer_program_is_left_alone(home: Home, open_here: Opener) -> None:
    open_here().close()
    execute(home.database, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StoreError, match="newer Homefire") as caught:
        open_here()
    assert caught.value.details["revision"] == "9999"


def test_a_foreign_database_is_left_alone(home: Home, open_here: Opener) -> None:
    home.create()
    execute(home.database, "CREATE TABLE recipes (name TEXT)")
    with pytest.raises(StoreError, match="not one of Homefire"):
        open_here()


def next_migration(folder: Path, body: str) -> Path:
    """The migrations with one more."""
    (folder / "versions").mkdir(parents=True)
    for source in (MIGRATIONS / "env.py", *(MIGRATIONS / "versions").glob("[0-9]*.py")):
        target = folder / source.relative_to(MIGRATIONS)
        target.write_text(source.read_text(encoding="utf-8"), encoding="utf-8")
    (folder / "versions" / "9000_next.py").write_text(
        "from alembic import op\nrevision = '9000'\n"
        f"down_revision = '{NEWEST_REVISION}'\ndef upgrade():\n    {body}\n",
        encoding="utf-8",
    )
    return folder


def use_migrations(monkeypatch: pytest.MonkeyPatch, scripts: Path) -> None:
    monkeypatch.setattr(schema, "REVISIONS", (*REVISIONS, "9000"))
    monkeypatch.setattr(schema, "NEWEST_REVISION", "9000")
    real = schema.migrate
    monkeypatch.setattr(schema, "migrate", lambda database: real(database, scripts=scripts))


def test_an_old_home_is_copied_migrated_and_its_projections_rebuilt(
    home: Home, open_here: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_here()
    store.append_sync(turn("1"))
    store.close()
    scripts = next_migration(tmp_path / "scripts", "op.execute('DELETE FROM turns')")
    use_migrations(monkeypatch, scripts)
    again = open_here()
    assert again.turns.get("turn-1") is not None
    assert again.check().is_sound
    (copy,) = home.backups.iterdir()
    kept = driver.connect(copy)
    assert kept.execute("SELECT version_num FROM alembic_version").fetchone() == (NEWEST_REVISION,)
    assert kept.execute("SELECT count(*) FROM turns").fetchone() == (1,)
    kept.close()


def test_a_migration_that_fails_half_way_changes_nothing(
    home: Home, open_here: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_here()
    store.append_sync(turn("1"))
    store.close()
    before = home.database.read_bytes()
    scripts = next_migration(
        tmp_path / "scripts", "op.execute('DROP TABLE gates'); raise RuntimeError('power cut')"
    )
    with monkeypatch.context() as patch:
        use_migrations(patch, scripts)
        with pytest.raises(RuntimeError, match="power cut"):
            open_here()
    assert home.database.read_bytes() == before
    assert open_here().check().is_sound


def test_a_start_imports_no_migration_tool(home: Home) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom homefire.config.schema import StoreSettings\n"
        "from homefire.home import Home\nfrom homefire.store.store import open_store\n"
        "from homefire.world import World\n"
        "open_store(Home(Path(sys.argv[1])), StoreSettings(), World()).close()\n"
        "print([name for name in ('alembic', 'mako', 'sqlalchemy.orm', 'numpy') if name in sys.modules])"
    )
    for _ in range(2):
        result = subprocess.run(
            [sys.executable, "-c", code, str(home.root)], capture_output=True, text=True, check=True
        )
        assert result.stdout.strip() == "[]"
