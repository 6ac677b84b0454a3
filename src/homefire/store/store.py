"""The store: the event log and what is folded from it, behind one object with one way to write.

`append` is the only write path of the database. Its promise: when it returns, the events survive process
kill, OS crash and power loss (on a disk that honours fsync), and every reader sees them. Everything read
comes as frozen typed rows; no SQL leaves this package.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Iterable
from concurrent.futures import Future
from pathlib import Path

from homefire.config.schema import StoreSettings
from homefire.errors import CorruptData, StoreError
from homefire.home import Home
from homefire.store import projections
from homefire.store.blobs import BlobStore
from homefire.store.check import CheckReport, check_store
from homefire.store.connections import ReadConnections
from homefire.store.database import Database, choose_database
from homefire.store.driver import Connection, driver
from homefire.store.erasable import Erasable
from homefire.store.events import Event
from homefire.store.failures import to_homefire_error, to_reading_error
from homefire.store.fence import Fence
from homefire.store.lock import HomeLock
from homefire.store.log import EventLog, LogTail, Recorded
from homefire.store.lost_database import refuse_lost_database
from homefire.store.noun import EventBase
from homefire.store.nouns.aliases import AliasReader
from homefire.store.nouns.conversation_rows import MessageReader, SessionReader, TurnReader
from homefire.store.nouns.datasets import DatasetReader
from homefire.store.nouns.erasures import ErasureReader
from homefire.store.nouns.examples import ExampleReader
from homefire.store.nouns.feedback import FeedbackReader
from homefire.store.nouns.keys import KeyReader
from homefire.store.nouns.losses import EventsLost, LossReader
from homefire.store.nouns.models import ModelReader
from homefire.store.nouns.runs import RunReader
from homefire.store.nouns.versions import VersionReader
from homefire.store.schema import ensure_schema, log_progress, transaction
from homefire.store.sqlite_version import wal_reset_warning
from homefire.store.waiting import Append
from homefire.store.witness import Reading, Witness, read_witness
from homefire.store.writer import Writer
from homefire.world import World

logger = logging.getLogger(__name__)

TAIL_ROWS_VERIFIED_AT_OPEN = 1000


def open_store(
    home: Home, settings: StoreSettings, world: World, *, database: Database | None = None
) -> Store:
    """Take the home, recover, check the end of the log, and start the writer.

    `database`: another one than the settings name. Raises HomeInUse (with `pid` where it is a process of this
    machine), StoreReadOnly, StoreUnreachable, StoreError (a newer schema), ConfigError, or CorruptData: damaged, or
    gone although the files of the home are there.
    """
    database = database or choose_database(home, settings)
    home.create()
    lock = HomeLock(home)
    try:
        if not database.is_remote:
            refuse_lost_database(home)
        return Store(home, settings, world, lock=lock, database=database)
    except BaseException:
        lock.release()
        raise


class Store:
    """Made by `open_store`. Appends are async (`append_sync` for threads); reads are short and sync."""

    def __init__(
        self, home: Home, settings: StoreSettings, world: World, *, lock: HomeLock, database: Database
    ) -> None:
        self.home = home
        self.database = database
        self.world = world
        self.blobs = BlobStore(home.blobs, world)
        self._lock = lock
        self._log = EventLog(world.random_bytes)
        warning = None if database.is_remote else wal_reset_warning(driver.sqlite_version)
        if warning is not None:
            logger.warning(warning)
        connection = database.open_writer()
        self._connections = ReadConnections(database, on_lost=self._on_lost)
        try:
            self._writer = self._start(connection, settings)
        except BaseException:
            connection.close()
            raise
        self.keys = KeyReader(self._connections)
        self.sessions = SessionReader(self._connections)
        self.messages = MessageReader(self._connections)
        self.turns = TurnReader(self._connections)
        self.feedback = FeedbackReader(self._connections)
        self.examples = ExampleReader(self._connections)
        self.datasets = DatasetReader(self._connections)
        self.erasable = Erasable(self._connections)
        self.erasures = ErasureReader(self._connections)
        self.losses = LossReader(self._connections)
        self.runs = RunReader(self._connections)
        self.versions = VersionReader(self._connections)
        self.aliases = AliasReader(self._connections)
        self.models = ModelReader(self._connections)

    async def append(self, *events: Event) -> tuple[Recorded, ...]:
        """Record events in one transaction; returns after its flushed commit.

        Raises what a projection refuses with (NotFound, Conflict, Forbidden: nothing of this call is then
        recorded), StoreFull, StoreReadOnly, StorePoisoned or StoreFenced. When the awaiting task is
        cancelled the events may be recorded anyway.
        """
        waiter: asyncio.Future[tuple[Recorded, ...]] = asyncio.get_running_loop().create_future()
        self._writer.submit(Append(events, waiter))
        return await waiter

    def append_sync(self, *events: Event) -> tuple[Recorded, ...]:
        """`append` for threads without an event loop; never call it on one."""
        waiter: Future[tuple[Recorded, ...]] = Future()
        self._writer.submit(Append(events, waiter))
        return waiter.result()

    def events(self, *, after_seq: int = 0, limit: int = 1000) -> list[Recorded]:
        """Events after `after_seq`, oldest first."""
        with self._connections.use() as connection:
            return self._log.read(connection, after_seq=after_seq, limit=limit)

    @property
    def last_seq(self) -> int:
        """The place of the newest event; 0 for an empty log."""
        return self._writer.last_seq

    def last_seq_of(self, kinds: Iterable[type[EventBase]]) -> int:
        """The place of the newest event of these kinds that was recorded since the start; 0: there is none.

        Whoever keeps what it read asks first, and reads again once the answer is another one: it has changed when an
        append of such an event returns.
        """
        return self._writer.last_seq_of(kinds)

    @property
    def failure(self) -> StoreError | None:
        """Why nothing can be recorded now (unreachable) or any more (poisoned, fenced, closed); None while all
        is well."""
        return self._writer.failure

    def check(self, *, full: bool = False) -> CheckReport:
        """Compare everything with the log (and every blob with its name, with `full`); see `check.py`."""
        return check_store(
            self.home,
            self._connections,
            log=self._log,
            blobs=self.blobs,
            full=full,
        )

    def rebuild(self) -> None:
        """Rebuild every table from the log, in one transaction: reads go on, appends wait.

        Raises CorruptData, and changes nothing, when the log itself is damaged.
        """

        def work(connection: Connection) -> None:
            with self.database.bulk(connection):
                projections.rebuild(
                    connection, self._log, database=self.database, home=self.home, progress=log_progress
                )

        self._writer.run_job(work)

    def close(self) -> None:
        """Commit what waits, close every connection and give the home free; harmless when closed."""
        if not self._writer.is_closed:
            self._writer.close()
            self._connections.close()
            self._lock.release()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _start(self, connection: Connection, settings: StoreSettings) -> Writer:
        fence = Fence()
        found = read_witness(self.home.witness)
        try:
            self._check_not_gone(connection, found)
            ensure_schema(connection, self.home, self.world, log=self._log, database=self.database)
            # Before anything is written: that would overwrite what can be saved of the write-ahead log.
            loss = self._find_loss(connection, found)
            self.database.check_quickly(connection)
            self._log.verify(connection, last=TAIL_ROWS_VERIFIED_AT_OPEN)
            with transaction(connection, self.database):
                fence.claim(connection)
        except self.database.Error as error:
            failure = self.database.failure_of(error)
            raise (to_reading_error if failure == "corrupt" else to_homefire_error)(failure, error) from error
        witness = Witness(self.home.witness)
        self.world.files.fsync_directory(self.home.root)
        self.blobs.discard_temporaries()
        writer = Writer(
            connection,
            home=self.home,
            world=self.world,
            log=self._log,
            fence=fence,
            database=self.database,
            readers=self._connections,
            patience_s=settings.busy_timeout_ms / 1000,
            group_commit_max=settings.group_commit_max,
            reserve_bytes=settings.reserve_bytes,
            witness=witness,
        )
        if loss is not None:
            waiter: Future[tuple[Recorded, ...]] = Future()
            writer.submit(Append((loss,), waiter))
            (recorded,) = waiter.result()
            row_hash = self._log.hash_of(connection, recorded.seq)
            assert row_hash is not None
            witness.restart(LogTail(recorded.seq, row_hash))
        return writer

    def _check_not_gone(self, connection: Connection, found: Reading) -> None:
        """Refuse to start over where there was a log: the database may be there, and hold nothing."""
        if self.database.table_names(connection):
            return
        if not self.database.is_remote:
            refuse_lost_database(self.home, has_tables=False)
        elif found.tail is not None:
            raise CorruptData(
                f"The database {self.database.where} is empty, and {found.tail.seq} events were recorded.",
                hint="Restore it from a backup, or name the right one in store.url; to start over without them, "
                f"delete {self.home.witness}.",
                path=self.database.where,
                num_events=found.tail.seq,
            )

    def _find_loss(self, connection: Connection, found: Reading) -> EventsLost | None:
        """What the witness knows and the log does not have; said in the log of the server, and then recorded."""
        if found.is_damaged:
            logger.error("%s cannot be read: whether the log lost its end is not known.", self.home.witness)
        tail, witnessed = self._log.tail(connection), found.tail
        if witnessed is None or self._log.hash_of(connection, witnessed.seq) == witnessed.hash:
            return None
        copy = self._keep_wal()
        logger.critical(
            "The log ends at event %d, and event %d was recorded%s: %s. "
            "The write-ahead log was damaged, or the database was replaced by an older one.%s",
            tail.seq,
            witnessed.seq,
            "" if witnessed.seq > tail.seq else " as another one",
            f"{witnessed.seq - tail.seq} acknowledged events are lost"
            if witnessed.seq > tail.seq
            else "acknowledged events were lost",
            f" What is left of it was copied to {copy}." if copy else "",
        )
        return EventsLost(last_seq=tail.seq, witnessed_seq=witnessed.seq)

    def _keep_wal(self) -> Path | None:
        """A copy of the write-ahead log for whoever wants to look what can be saved; None where there is none."""
        if self.database.is_remote:
            return None
        wal = self.home.database.with_name(f"{self.home.database.name}-wal")
        copy = self.home.backups / f"{wal.name}-{self.world.new_id('damaged')}"
        try:
            if not wal.stat().st_size:
                return None
            shutil.copyfile(wal, copy)
        except OSError as error:
            logger.warning("%s cannot be copied: %s", wal, error)
            return None
        return copy

    def _on_lost(self) -> None:
        self._writer.probe()
