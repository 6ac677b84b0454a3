"""Reading what is to be learned and what was: examples, datasets, runs."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Integer, and_, bindparam, exists, select

from homefire.store.connections import ReadConnections
from homefire.store.events import RunState
from homefire.store.reading import Query, Shape
from homefire.store.rows import DatasetRow, ExampleRow, RunRow
from homefire.store.sql import Statement
from homefire.store.tables import dataset_examples, datasets, examples, runs, versions
from homefire.types import Message


class ExampleReader:
    """Examples in the order they were taught."""

    def __init__(self, connections: ReadConnections) -> None:
        shape = Shape(ExampleRow, examples, json={"messages": tuple[Message, ...]})
        in_order = shape.select().order_by(examples.c.seq, examples.c.example_id)
        current = in_order.where(examples.c.superseded_by.is_(None), examples.c.withdrawn_at_s.is_(None))
        member = and_(
            dataset_examples.c.example_id == examples.c.example_id,
            dataset_examples.c.dataset_id == datasets.c.dataset_id,
        )
        self._get = Query(connections, shape, shape.select().where(examples.c.example_id == bindparam("id")))
        self._list = Query(connections, shape, in_order.limit(bindparam("limit", type_=Integer)))
        self._pending = Query(
            connections,
            shape,
            current.where(
                ~exists(select(datasets.c.dataset_id).where(member, datasets.c.seq > examples.c.seq))
            ),
        )

        self._current = Query(connections, shape, current)
        self._page = Query(
            connections,
            shape,
            shape.select()
            .where(examples.c.principal == bindparam("principal"), examples.c.seq < bindparam("before_seq"))
            .order_by(examples.c.seq.desc())
            .limit(bindparam("limit", type_=Integer)),
        )

    def get(self, example_id: str) -> ExampleRow | None:
        return self._get.one(id=example_id)

    def page(self, principal: str, *, before_seq: int, limit: int) -> list[ExampleRow]:
        """Examples of one principal that were (last) taught before this place in the log, newest first."""
        return self._page.all(principal=principal, before_seq=before_seq, limit=limit)

    def current(self) -> list[ExampleRow]:
        """Those that count, oldest first."""
        return self._current.all()

    def pending(self) -> list[ExampleRow]:
        """Those that count and are in no dataset made since they were (last) taught."""
        return self._pending.all()

    def list(self, *, limit: int = 100_000) -> list[ExampleRow]:
        """All examples, superseded ones too, oldest first."""
        return self._list.all(limit=limit)


class DatasetReader:
    def __init__(self, connections: ReadConnections) -> None:
        self._connections = connections
        self._get = Statement(
            select(datasets.c.dataset_id, datasets.c.name, datasets.c.created_at_s).where(
                datasets.c.dataset_id == bindparam("id")
            )
        )
        self._items = Statement(
            select(dataset_examples.c.example_id)
            .where(dataset_examples.c.dataset_id == bindparam("id"))
            .order_by(dataset_examples.c.position)
        )

    def get(self, dataset_id: str) -> DatasetRow | None:
        with self._connections.use() as connection:
            row = self._get.one(connection, {"id": dataset_id})
            items = self._items.all(connection, {"id": dataset_id})
        if row is None:
            return None
        return DatasetRow(
            dataset_id=row[0], name=row[1], created_at_s=row[2], example_ids=tuple(item for (item,) in items)
        )


class RunReader:
    def __init__(self, connections: ReadConnections) -> None:
        published = (
            select(versions.c.version)
            .where(versions.c.run_id == runs.c.run_id)
            .order_by(versions.c.seq.desc())
            .limit(1)
            .scalar_subquery()
        )
        shape = Shape(
            RunRow,
            runs,
            json={"recipe": dict[str, Any], "metrics": dict[str, Any], "unteaches": tuple[str, ...]},
            computed={"version": published},
        )
        newest_first = shape.select().order_by(runs.c.seq.desc(), runs.c.run_id.desc())
        self._get = Query(connections, shape, shape.select().where(runs.c.run_id == bindparam("id")))
        self._list = Query(connections, shape, newest_first)
        self._in_state = Query(connections, shape, newest_first.where(runs.c.state == bindparam("state")))
        self._of_example = Query(
            connections,
            shape,
            newest_first.where(
                runs.c.dataset_id.in_(
                    select(dataset_examples.c.dataset_id).where(
                        dataset_examples.c.example_id == bindparam("id")
                    )
                )
            ),
        )

    def get(self, run_id: str) -> RunRow | None:
        return self._get.one(id=run_id)

    def of_example(self, example_id: str) -> list[RunRow]:
        """The runs whose dataset holds this example, newest first."""
        return self._of_example.all(id=example_id)

    def list(self, state: RunState | None = None) -> list[RunRow]:
        """All runs (in this state), newest first."""
        return self._list.all() if state is None else self._in_state.all(state=state)
