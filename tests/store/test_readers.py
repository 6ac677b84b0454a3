from __future__ import annotations

import pytest

from homefire.store.reading import Query
from homefire.store.sql import Statement
from homefire.store.store import Store

HOT = [
    ("sessions", "_get"), ("sessions", "_list"),
    ("messages", "_path"), ("messages", "_by_digest"), ("messages", "_get"),
    ("turns", "_get"), ("turns", "_list"), ("feedback", "_list"), ("keys", "_find"),
    ("aliases", "_get"), ("aliases", "_history"), ("models", "_get"), ("versions", "_get"), ("runs", "_get"),
    ("runs", "_in_state"), ("examples", "_get"),
]  # fmt: skip


@pytest.mark.parametrize(("reader", "query"), HOT)
def test_no_query_on_the_path_of_a_request_reads_a_whole_table(store: Store, reader: str, query: str) -> None:
    compiled: Query[object] | Statement = getattr(getattr(store, reader), query)
    sql = compiled.sql if isinstance(compiled, Statement) else compiled._statement.sql
    names = [word.strip(":(),") for word in sql.split() if word.startswith((":", "(:"))]
    with store._connections.use() as connection:
        plan = connection.execute(f"EXPLAIN QUERY PLAN {sql}", dict.fromkeys(names, 1))
        steps = [str(row[3]) for row in plan]
    whole = [
        step for step in steps if step.startswith("SCAN") and "path" not in step and "CONSTANT" not in step
    ]
    assert whole == []
    assert reader != "sessions" or not any("TEMP B-TREE" in step for step in steps)


def test_planted_bug_a_query_without_an_index_is_noticed(store: Store) -> None:
    with store._connections.use() as connection:
        plan = connection.execute("EXPLAIN QUERY PLAN SELECT * FROM turns WHERE verdict = 'x'").fetchall()
    assert any(str(row[3]).startswith("SCAN") for row in plan)


def test_reading_connections_are_shared_and_bounded_by_their_use(store: Store) -> None:
    for _ in range(10):
        store.aliases.list()
    assert len(store._connections._idle) == 1
    with store._connections.use(), store._connections.use():
        pass
    assert len(store._connections._idle) == 2
