"""Both databases behind the store's contract suite: what a test does to one behind Homefire's back.

Every test that asks for a store runs on both. What is about one of them only is named in `SQLITE_ONLY`, with the
reason; `test_postgresql.py` is about the other.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from homefire.store.driver import driver
from tests.support.postgresql import PostgresServer

SQLITE, POSTGRESQL = "sqlite", "postgresql"
SQLITE_ONLY = {
    "test_writer::test_the_name_of_a_new_database_is_flushed_before_anything_is_acknowledged": "a server's "
    "own files",
    "test_writer::test_planted_bug_a_first_start_that_does_not_flush_the_directory_is_noticed": "a server's "
    "own files",
    "test_failed_flush": "faults are planted by SQLite's codes; a server that cannot flush ends itself "
    "(test_postgresql: a lost connection)",
    "test_opening_killed": "kills SQLite's statements inside the process; test_postgresql kills the server instead",
    "test_store::test_the_write_ahead_log_is_checkpointed_between_batches": "a server checkpoints by itself",
    "test_store::test_every_commit_is_flushed": "SQLite's PRAGMAs; test_postgresql has the server's settings",
    "test_store::test_planted_bug_synchronous_normal_is_noticed": "SQLite's PRAGMAs",
    "test_store::test_a_database_that_cannot_be_written_now_is_typed": "SQLite's codes",
    "test_store::test_below_the_reserve_only_what_cleans_up_is_recorded": "the home's disk is not the server's",
    "test_store::test_a_disk_that_cannot_be_asked_refuses_that_append_and_no_later_one": "the home's disk is not the "
    "server's",
    "test_store::test_another_programs_lock_is_waited_for_then_named": "a lock on the whole file",
    "test_readers::test_no_query_on_the_path_of_a_request_reads_a_whole_table": "SQLite's words for a plan",
    "test_readers::test_planted_bug_a_query_without_an_index_is_noticed": "SQLite's words for a plan",
    "test_schema::test_a_home_of_a_newer_program_is_left_alone_byte_for_byte": "compares the file",
    "test_check::test_a_damaged_page_is_noticed_at_open": "writes into the file",
    "test_check::test_a_file_that_is_no_database_is_named": "there is no file",
    "test_witness": "damages SQLite's files; test_log cuts the end off on both",
    "test_erasing::test_what_is_erased_is_in_no_file_and_everything_still_verifies": "looks into SQLite's files",
    "test_erasing::test_a_content_that_goes_without_an_event_is_noticed": "computes a seal through SQLite's connection",
    "test_erasing::test_planted_bug_erasing_only_what_is_shown_is_noticed": "SQLite's write-ahead log",
    "test_erasing::test_planted_bug_a_log_that_does_not_empty_the_body_is_noticed": "looks into SQLite's files",
    "test_sqlite_version": "the version of the SQLite library",
}


class Backend(ABC):
    """The database of one test."""

    settings: dict[str, Any]
    """What `[store]` needs to name it."""

    @abstractmethod
    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What a query gives, past Homefire."""

    @abstractmethod
    def execute(self, *statements: str) -> None:
        """Change it behind Homefire's back, as someone with a database browser could."""

    @abstractmethod
    def columns(self, table: str) -> list[str]: ...

    @abstractmethod
    def tables(self) -> set[str]: ...

    @abstractmethod
    def unlock_log(self) -> None:
        """Remove what keeps the log append-only."""

    def contents(self) -> dict[str, list[tuple[Any, ...]]]:
        """All rows of all tables."""
        return {name: sorted(self.rows(f"SELECT * FROM {name}"), key=repr) for name in sorted(self.tables())}

    def take_over(self) -> None:
        """What a second process does that got past the locks."""
        self.execute("UPDATE fence SET epoch = epoch + 1")


class SQLiteBackend(Backend):
    def __init__(self, path: Path) -> None:
        self.path = path
        self.settings = {}

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        connection = driver.connect(self.path)
        found = connection.execute(query).fetchall()
        connection.close()
        return found

    def execute(self, *statements: str) -> None:
        connection = driver.connect(self.path)
        for statement in statements:
            connection.execute(statement)
        connection.commit()
        connection.close()

    def columns(self, table: str) -> list[str]:
        return [row[1] for row in self.rows(f"PRAGMA table_info({table})")]

    def tables(self) -> set[str]:
        return {name for (name,) in self.rows("SELECT name FROM sqlite_schema WHERE type = 'table'")}

    def unlock_log(self) -> None:
        triggers = self.rows("SELECT name FROM sqlite_schema WHERE type = 'trigger'")
        self.execute(*(f"DROP TRIGGER {name}" for (name,) in triggers))


_schemas = itertools.count(1)


class PostgresBackend(Backend):
    """A schema of its own in the tests' server."""

    def __init__(self, server: PostgresServer) -> None:
        self.server = server
        self.schema = f"home_{next(_schemas)}"
        with server.connect() as connection:
            connection.execute(f"CREATE SCHEMA {self.schema}")  # type: ignore[arg-type]
        self.url = server.url(schema=self.schema)
        self.settings = {"url": self.url}

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with self.server.connect(schema=self.schema) as connection:
            return connection.execute(query).fetchall()  # type: ignore[arg-type]

    def execute(self, *statements: str) -> None:
        with self.server.connect(schema=self.schema) as connection:
            for statement in statements:
                connection.execute(statement)  # type: ignore[arg-type]

    def columns(self, table: str) -> list[str]:
        return [
            name
            for (name,) in self.rows(
                "SELECT column_name::text FROM information_schema.columns "
                f"WHERE table_schema = '{self.schema}' AND table_name = '{table}' ORDER BY ordinal_position"
            )
        ]

    def tables(self) -> set[str]:
        return {
            name
            for (name,) in self.rows("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")
        }

    def unlock_log(self) -> None:
        self.execute("ALTER TABLE events DISABLE TRIGGER ALL", "ALTER TABLE bodies DISABLE TRIGGER ALL")

    def remove(self) -> None:
        with self.server.connect() as connection:
            connection.execute(f"DROP SCHEMA IF EXISTS {self.schema} CASCADE")  # type: ignore[arg-type]
