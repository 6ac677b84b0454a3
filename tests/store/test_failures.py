"""Each failure of a database is one typed error, and nothing that is not known to be harmless passes for harmless."""

from __future__ import annotations

import pytest

from homefire.errors import (
    Conflict,
    CorruptData,
    InvalidRequest,
    StoreError,
    StoreFull,
    StorePoisoned,
    StoreReadOnly,
    StoreUnreachable,
)
from homefire.store.failures import Failure, to_homefire_error, to_reading_error, to_refusal

SAID = Exception("disk  I/O\nerror.")


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        ("conflict", Conflict),
        ("too_big", InvalidRequest),
        ("full", StoreFull),
        ("read_only", StoreReadOnly),
        ("busy", StoreError),
        ("slow", StoreUnreachable),
        ("no_memory", StoreError),
        ("lost", StoreUnreachable),
        ("corrupt", StorePoisoned),
        ("refused", StorePoisoned),
        ("fatal", StorePoisoned),
    ],
)
def test_a_failed_write_is_harmless_only_where_that_is_known(
    failure: Failure, error: type[Exception]
) -> None:
    assert type(to_homefire_error(failure, SAID)) is error


@pytest.mark.parametrize(
    ("failure", "error"), [("conflict", Conflict), ("too_big", InvalidRequest), ("refused", StoreError)]
)
def test_a_refused_statement_stops_nothing(failure: Failure, error: type[Exception]) -> None:
    assert type(to_refusal(failure, SAID)) is error


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        ("corrupt", CorruptData),
        ("busy", StoreError),
        ("slow", StoreUnreachable),
        ("read_only", StoreReadOnly),
        ("lost", StoreUnreachable),
        ("fatal", StoreError),
        ("conflict", StoreError),
    ],
)
def test_a_failed_read_poisons_nothing(failure: Failure, error: type[Exception]) -> None:
    assert type(to_reading_error(failure, SAID)) is error


def test_what_the_database_said_is_told_on_one_line() -> None:
    assert "(disk I/O error)" in to_homefire_error("lost", SAID).message
