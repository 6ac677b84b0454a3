"""The one thread that writes: it gathers waiting appends, commits them together, and only then acknowledges.

Promises: an append resolves after the flushed commit that holds it; a refused append leaves no trace and does
not disturb the others of its batch; after an I/O error or a lost fence nothing is ever committed again. After a lost
connection (a database on a server) the log says what became of the last commit, and the writer goes on.
Cost: one flush a batch, however many appends it holds; about 0.2 ms of CPU an append.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from homefire.errors import HomefireError, StoreError, StoreFenced, StorePoisoned, StoreUnreachable
from homefire.home import Home
from homefire.store import projections
from homefire.store.connections import ReadConnections
from homefire.store.database import Database
from homefire.store.driver import Connection
from homefire.store.durable import os_error_to_store_error
from homefire.store.failures import (
    REFUSALS,
    poisoned,
    to_homefire_error,
    to_refusal,
    unknown_outcome,
)
from homefire.store.fence import Fence
from homefire.store.log import EventLog, LogTail, Recorded, encode_event
from homefire.store.noun import EventBase, Recent
from homefire.store.nouns.erasures import BodiesErased
from homefire.store.reconnect import FIRST_PAUSE_S, LONGEST_PAUSE_S, Standing, find_out
from homefire.store.reserve import admit
from homefire.store.waiting import Append, Job, acknowledge
from homefire.store.witness import Witness
from homefire.world import World

logger = logging.getLogger(__name__)


CHECKPOINT_BATCHES = 200
CHECKPOINT_CHANGES = 4000


@dataclass(slots=True)
class Transaction:
    """How far a batch came: the log's tail in it, and, once its commit is on the way, the tail that it asks for."""

    tail: LogTail
    sent: LogTail | None = None


class Writer:
    """Owns the writing connection from construction to `close`."""

    def __init__(
        self,
        connection: Connection,
        *,
        home: Home,
        world: World,
        log: EventLog,
        fence: Fence,
        database: Database,
        readers: ReadConnections,
        patience_s: float,
        group_commit_max: int,
        reserve_bytes: int,
        witness: Witness,
    ) -> None:
        self._connection = connection
        self._home = home
        self._world = world
        self._log = log
        self._fence = fence
        self._database = database
        self._readers = readers
        self._patience_s = patience_s
        self._group_commit_max = group_commit_max
        self._reserve_bytes = reserve_bytes
        self._witness, self._witness_failed = witness, False
        self._tail = log.tail(connection)
        self._recent = Recent()
        self._last_of_kind: dict[type[EventBase], int] = {}
        self._queue: queue.SimpleQueue[Append | Job | None] = queue.SimpleQueue()
        self._held: deque[Job | None] = deque()
        self._gate = threading.Lock()
        self._dead: StoreError | None = None
        self._unreachable: StoreUnreachable | None = None
        self._refuses = False
        self._closing = threading.Event()
        self._batches_since_checkpoint = 0
        self._changes_at_checkpoint = 0
        self._thread = threading.Thread(target=self._run, name="homefire-store-writer", daemon=True)
        self._thread.start()

    @property
    def last_seq(self) -> int:
        """The last event that is committed."""
        return self._tail.seq

    @property
    def is_closed(self) -> bool:
        return self._closing.is_set()

    @property
    def failure(self) -> StoreError | None:
        """Why nothing can be appended now or any more; None while all is well."""
        return self._dead or self._unreachable

    def last_seq_of(self, kinds: Iterable[type[EventBase]]) -> int:
        """The newest event of these kinds that this writer committed; 0: there is none."""
        return max((self._last_of_kind.get(kind, 0) for kind in kinds), default=0)

    def submit(self, append: Append) -> None:
        """Queue an append; its waiter is resolved after the commit. Raises when the store is dead."""
        self._put(append)

    def probe(self) -> None:
        """Look whether the writing connection still is one: a reader found its own gone."""
        self._queue.put(Job(lambda connection: None))

    def run_job(self, work: Callable[[Connection], None]) -> None:
        """Run `work` in a transaction between two batches and wait for its commit."""
        job = Job(work)
        self._put(job)
        job.waiter.result()

    def close(self) -> None:
        """Commit what waits, leave one whole database file, and close. Later appends get StoreError."""
        with self._gate:
            if self._dead is None:
                self._dead = StoreError("The store is closed.")
            self._closing.set()
            self._queue.put(None)
        self._thread.join()
        if self._database.has_checkpoints and not isinstance(self._dead, StorePoisoned | StoreFenced):
            # Whoever copies only homefire.db of a stopped server has everything.
            self._checkpoint("TRUNCATE")
        self._witness.close()
        self._connection.close()

    def _put(self, item: Append | Job) -> None:
        with self._gate:
            refusal = self._dead or (self._unreachable if self._refuses else None)
            if refusal is not None:
                raise refusal.copy()
            self._queue.put(item)

    def _run(self) -> None:
        item: Append | Job | None = None
        try:
            while (item := self._next()) is not None:
                if isinstance(item, Job):
                    self._run_job(item)
                else:
                    self._commit_batch(self._gather(item))
                    self._checkpoint_when_due()
        except BaseException as error:
            self._end_unexpectedly(error, item)
            raise

    def _end_unexpectedly(self, error: BaseException, item: Append | Job | None) -> None:
        """This thread ends and should not: whoever waits, or will, is told, and so is everybody who asks."""
        logger.critical("The thread that writes ended unexpectedly.", exc_info=error)
        failure = poisoned(f"an unexpected {type(error).__name__}: {error}")
        self._note(failure)
        while item is not None:
            if not item.waiter.done():
                if isinstance(item, Job):
                    item.waiter.set_exception(failure.copy())
                else:
                    item.outcome = failure.copy()
                    acknowledge([item])
            try:
                item = self._held.popleft() if self._held else self._queue.get_nowait()
            except queue.Empty:
                item = None

    def _next(self) -> Append | Job | None:
        return self._held.popleft() if self._held else self._queue.get()

    def _gather(self, first: Append) -> list[Append]:
        """`first` and the appends that wait behind it: what one commit will hold."""
        batch = [first]
        while len(batch) < self._group_commit_max and not self._queue.empty():
            item = self._queue.get()  # there is one: only this thread takes any
            if not isinstance(item, Append):
                self._held.append(item)
                break
            batch.append(item)
        return batch

    def _commit_batch(self, batch: list[Append], *, may_retry: bool = True) -> None:
        transaction = Transaction(self._tail)
        try:
            self._record(batch, transaction)
        except Exception as error:  # noqa: BLE001 - handed to those who wait; what must stop the store stops it
            failure = self._to_failure(error)
            self._roll_back()
            self._note(failure)
            if isinstance(failure, StoreUnreachable):
                self._settle(batch, failure, sent=transaction.sent, may_retry=may_retry)
            else:
                self._refuse(batch, failure)
        else:
            self._committed(batch, transaction.tail)

    def _committed(self, batch: list[Append], tail: LogTail) -> None:
        self._tail = tail
        self._batches_since_checkpoint += 1
        has_erased = False
        for append in batch:
            for recorded in append.recorded:
                self._last_of_kind[type(recorded.event)] = recorded.seq
                has_erased = has_erased or isinstance(recorded.event, BodiesErased)
        self._note_witness()
        if has_erased and self._database.has_checkpoints:
            # The write-ahead log still holds what was there before; nobody is told until it is empty.
            self._checkpoint("TRUNCATE")
        acknowledge(batch)

    def _record(self, batch: list[Append], transaction: Transaction) -> None:
        """Commit what can be. What is refused keeps its error."""
        if isinstance(self._dead, StorePoisoned | StoreFenced):
            raise self._dead.copy()
        admitted = batch
        if not self._database.is_remote:
            admitted = admit(
                batch, files=self._world.files, root=self._home.root, reserve_bytes=self._reserve_bytes
            )
        if not admitted:
            return
        self._database.begin(self._connection)
        self._fence.check(self._connection)
        at_s = float(self._world.clock.now_s())
        is_alone = len(admitted) == 1
        for append in admitted:
            transaction.tail = self._try_append(append, transaction.tail, at_s=at_s, is_alone=is_alone)
        if transaction.tail is self._tail:
            # Nothing may be left of a single append that was refused.
            self._connection.execute("ROLLBACK")
            return
        transaction.sent = transaction.tail
        self._database.commit(self._connection)

    def _try_append(self, append: Append, tail: LogTail, *, at_s: float, is_alone: bool) -> LogTail:
        """Record one append inside the batch's transaction, or undo it and keep its error.

        One that is alone in its transaction needs no savepoint: the caller rolls back where the tail is the same.
        """
        connection = self._connection
        if not is_alone:
            connection.execute("SAVEPOINT append")
        recorded: list[Recorded] = []
        next_tail = tail
        try:
            for event in append.events:
                encoded = encode_event(event)
                next_tail, entry = self._log.add(
                    connection, next_tail, at_s=at_s, encoded=encoded, recent=self._recent
                )
                projections.apply(connection, encoded.event, entry)
                recorded.append(Recorded(next_tail.seq, at_s, event))
            self._database.settle(connection)
        except self._database.Error as error:
            refusal = self._database.failure_of(error)
            if refusal not in REFUSALS:
                raise
            append.outcome = to_refusal(refusal, error)
        except Exception as error:  # noqa: BLE001 - whatever it is belongs to the one who waits, not to this thread
            append.outcome = error
        else:
            if not is_alone:
                connection.execute("RELEASE append")
            append.outcome = tuple(recorded)
            return next_tail
        self._recent.clear()
        if not is_alone:
            connection.execute("ROLLBACK TO append")
            connection.execute("RELEASE append")
        return tail

    def _to_failure(self, error: Exception) -> HomefireError:
        if isinstance(error, self._database.Error):
            return to_homefire_error(self._database.failure_of(error), error)
        if isinstance(error, HomefireError):
            return error
        logger.error("Recording failed unexpectedly.", exc_info=error)
        if isinstance(error, OSError):
            return os_error_to_store_error(error, self._home.database)
        return StoreError(
            f"Recording failed unexpectedly ({error}).", hint="The log of the server says more."
        )

    def _note_witness(self) -> None:
        """Let the witness know the new tail. Where it cannot, recording goes on: the events themselves are safe."""
        try:
            self._witness.note(self._tail)
        except OSError as error:
            if not self._witness_failed:
                logger.warning("The witness %s cannot be written: %s.", self._home.witness, error)
            self._witness_failed = True
        else:
            self._witness_failed = False

    def _run_job(self, job: Job) -> None:
        try:
            if isinstance(self._dead, StorePoisoned | StoreFenced):
                raise self._dead.copy()
            self._database.begin(self._connection)
            self._fence.check(self._connection)
            job.work(self._connection)
            self._database.commit(self._connection)
        except Exception as error:  # noqa: BLE001 - handed to the one who waits
            failure = self._to_failure(error) if isinstance(error, self._database.Error) else error
            self._roll_back()
            self._note(failure)
            job.waiter.set_exception(failure)
            if isinstance(failure, StoreUnreachable):
                self._reconnect(failure, last=self._tail)
        else:
            job.waiter.set_result(None)

    def _settle(
        self, batch: list[Append], failure: StoreUnreachable, *, sent: LogTail | None, may_retry: bool
    ) -> None:
        """Connect again and answer a batch whose connection was lost.

        `sent`: its last event, where its commit was on the way. Then it waits for what the log says, however long.
        What is not recorded is tried once more.
        """
        waiting = list(batch) if sent is None and may_retry else []
        if sent is None and not may_retry:
            self._refuse(batch, failure)
        standing = self._reconnect(failure, last=sent or self._tail, waiting=waiting)
        if sent is None and not waiting:
            return
        if standing is None:
            self._refuse(batch, unknown_outcome() if sent else failure)
        elif sent is not None and standing.is_recorded:
            self._committed(batch, sent)
        elif standing.fenced is not None or not may_retry:
            self._refuse(batch, standing.fenced or failure)
        else:
            self._commit_batch(batch, may_retry=False)

    def _reconnect(
        self, why: StoreUnreachable, *, last: LogTail, waiting: list[Append] | None = None
    ) -> Standing | None:
        """Try until the server answers; None when the store is closed before.

        For `patience_s` appends wait (`waiting` with them); then they are refused until the connection is back.
        """
        with self._gate:
            self._unreachable = why
        self._readers.suspend(why)
        self._connection.close()
        logger.error("The connection to the database is lost: %s", why)
        patient_until_s = self._world.clock.monotonic_s() + self._patience_s
        pause_s = FIRST_PAUSE_S
        while not self._closing.wait(pause_s):
            try:
                standing = find_out(self._database, fence=self._fence, log=self._log, last=last)
            except (StoreError, self._database.Error) as error:
                logger.warning("The database cannot be used yet: %s", error)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
                if not self._refuses and self._world.clock.monotonic_s() >= patient_until_s:
                    self._refuse_waiting(why, waiting or [])
                continue
            if standing.fenced is not None:
                self._note(standing.fenced)
            if standing.connection is not None:
                self._connection = standing.connection
                logger.warning("Connected again to %s", self._database.where)
            with self._gate:
                self._unreachable, self._refuses = None, False
            self._readers.resume()
            return standing
        return None

    def _refuse_waiting(self, why: StoreError, waiting: list[Append]) -> None:
        """From now on nothing waits: answer what does."""
        with self._gate:
            self._refuses = True
        refused = list(waiting)
        waiting.clear()
        while not self._queue.empty():
            item = self._queue.get()
            if isinstance(item, Append):
                refused.append(item)
            elif isinstance(item, Job):
                item.waiter.set_exception(why.copy())
            else:
                self._held.append(item)
        self._refuse(refused, why)

    def _refuse(self, batch: list[Append], why: HomefireError) -> None:
        for append in batch:
            append.outcome = why.copy()
        acknowledge(batch)

    def _roll_back(self) -> None:
        self._recent.clear()
        if self._connection.in_transaction:
            try:
                self._connection.execute("ROLLBACK")
            except self._database.Error as error:
                if self._database.failure_of(error) != "lost":
                    self._note(poisoned(str(error)))

    def _note(self, failure: BaseException) -> None:
        """Stop for good after what must not be retried."""
        if isinstance(failure, StorePoisoned | StoreFenced):
            with self._gate:
                if not isinstance(self._dead, StorePoisoned | StoreFenced):
                    self._dead = failure
            logger.critical("The store stopped: %s", failure)

    def _checkpoint_when_due(self) -> None:
        """Move committed pages from the write-ahead log into the database, between batches."""
        if not self._database.has_checkpoints:
            return
        total_changes: int = self._connection.total_changes  # type: ignore[attr-defined]
        changes = total_changes - self._changes_at_checkpoint
        if self._batches_since_checkpoint < CHECKPOINT_BATCHES and changes < CHECKPOINT_CHANGES:
            return
        self._batches_since_checkpoint = 0
        self._changes_at_checkpoint = total_changes
        self._checkpoint("PASSIVE")

    def _flush_witness(self) -> None:
        with contextlib.suppress(OSError):  # it was noted, or is said, when it is written
            self._witness.flush()

    def _checkpoint(self, mode: Literal["PASSIVE", "TRUNCATE"]) -> None:
        try:
            self._flush_witness()
            ((busy, _, _),) = self._connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchall()
            if busy and mode == "TRUNCATE":
                logger.warning(
                    "A reader kept the write-ahead log from being emptied; the next checkpoint tries again."
                )
        except self._database.Error as error:
            failure = self._to_failure(error)
            logger.warning("A checkpoint of the database did not succeed: %s", failure)
            self._note(failure)
