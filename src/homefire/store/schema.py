"""The database's schema and its revision: made for a new home, checked at every start, migrated when old.

A new database is made from `tables.py` directly and stamped with the newest revision; a test holds that the
migrations lead to the same schema. Alembic is imported only when there is something to migrate (it costs
12 MB and 0.1 s). Projections are disposable: a later migration may drop
them all and rebuild them from the log.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import create_engine
from sqlalchemy.dialects.sqlite.base import SQLiteDialect
from sqlalchemy.event import listen
from sqlalchemy.pool import NullPool
from sqlalchemy.schema import CreateIndex, CreateTable

from homefire.errors import StoreError
from homefire.home import Home
from homefire.store.driver import Connection, driver
from homefire.store.durable import translated_os_errors
from homefire.store.tables import APPEND_ONLY_TRIGGERS, metadata
from homefire.world import World

REVISIONS = ("0001",)
NEWEST_REVISION = REVISIONS[-1]
MIGRATIONS = Path(__file__).parent / "migrations"
_REBUILD_PENDING = 1
_VERSION_TABLE = (
    "CREATE TABLE alembic_version "
    "(version_num VARCHAR(32) NOT NULL, CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
)


def current_revision(connection: Connection) -> str | None:
    """The revision the database is at; None when it is empty."""
    known = connection.execute(
        "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'alembic_version'"
    ).fetchone()
    if known is None:
        return None
    row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return None if row is None else str(row[0])


def is_empty(connection: Connection) -> bool:
    """Whether the database holds no table at all."""
    return connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone() is None


def create_schema(connection: Connection) -> None:
    """Make every table, index and trigger in the running transaction and stamp the newest revision."""
    dialect = SQLiteDialect()
    for table in metadata.sorted_tables:
        connection.execute(str(CreateTable(table).compile(dialect=dialect)))
        for index in sorted(table.indexes, key=lambda index: str(index.name)):
            connection.execute(str(CreateIndex(index).compile(dialect=dialect)))
    for trigger in APPEND_ONLY_TRIGGERS:
        connection.execute(trigger)
    connection.execute(_VERSION_TABLE)
    connection.execute("INSERT INTO alembic_version (version_num) VALUES (?)", (NEWEST_REVISION,))


def ensure_schema(connection: Connection, home: Home, world: World) -> None:
    """Bring the database to the newest revision.

    Raises StoreError when a newer Homefire wrote it, or when it is no database of Homefire.
    """
    if is_empty(connection):
        connection.execute("BEGIN IMMEDIATE")
        try:
            create_schema(connection)
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")
        return
    revision = current_revision(connection)
    if revision == NEWEST_REVISION:
        return
    if revision is None:
        raise StoreError(
            f"{home.database} is a database, but not one of Homefire.",
            hint="Move it away, or choose another home with HOMEFIRE_HOME.",
            path=str(home.database),
        )
    if revision not in REVISIONS:
        raise StoreError(
            f"The database {home.database} is at revision {revision}, which this program does not know: "
            "this home was written by a newer Homefire.",
            hint="Upgrade Homefire, or choose another home with HOMEFIRE_HOME.",
            revision=revision,
            newest=NEWEST_REVISION,
        )
    keep_copy(connection, home.backups / f"homefire-{revision}-{world.new_id('before')}.db", world)
    migrate(home.database)


def needs_rebuild(connection: Connection) -> bool:
    """Whether a migration ran after which the projections were not rebuilt yet."""
    (mark,) = connection.execute("PRAGMA user_version").fetchone()
    return bool(mark == _REBUILD_PENDING)


def clear_rebuild_mark(connection: Connection) -> None:
    """Say, in the transaction that rebuilt the projections, that it is done."""
    connection.execute("PRAGMA user_version = 0")


def keep_copy(connection: Connection, path: Path, world: World) -> None:
    """A flushed copy of the whole database at `path`, to go back to should a migration go wrong."""
    with translated_os_errors(path):
        connection.execute("VACUUM INTO ?", (str(path),))
        world.files.fsync_file(path)
        world.files.fsync_directory(path.parent)


def migrate(database: Path, *, scripts: Path = MIGRATIONS, target: str = "head") -> None:
    """Run the migrations up to `target` in one transaction: all or nothing, also when it is killed."""
    # Alembic is heavy and almost never needed: see the module's docstring.
    from alembic import command
    from alembic.config import Config

    engine = create_engine(
        "sqlite+pysqlite://",
        module=driver,
        creator=lambda: driver.connect(database, isolation_level=None),
        poolclass=NullPool,
    )
    config = Config()
    config.set_main_option("script_location", str(scripts).replace("%", "%%"))
    # The driver would not open a transaction before DDL by itself.
    listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    with engine.connect() as connection, connection.begin():
        config.attributes["connection"] = connection
        command.upgrade(config, target)
        connection.exec_driver_sql(f"PRAGMA user_version = {_REBUILD_PENDING}")
