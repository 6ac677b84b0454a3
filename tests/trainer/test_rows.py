"""Older rows stay in their file; an index says where they are, and is never believed blindly."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from homefire.errors import InvalidRequest
from homefire.trainer.contract import TrainingRow, encode_rows, read_rows
from homefire.trainer.data import load_data
from homefire.trainer.render import Renderer
from homefire.trainer.rows import UNUSABLE, RowFile, TokenLengths, open_rows
from tests.support.trainer import make_run, row

ROWS = [row(f"Question {n}, ä?", f"Answer {n} 🍰", f"e{n}") for n in range(20)]


class Opened:
    """A file of rows, opened; `num_asked` counts the rows that were read for the index."""

    def __init__(self, path: Path, purpose: bytes = b"1") -> None:
        self.num_asked = 0
        self.rows: RowFile = open_rows(path, is_used=self.is_used, purpose=purpose)

    def is_used(self, each: TrainingRow) -> bool:
        self.num_asked += 1
        return each.example_id != "e3"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "rows.jsonl"
    found.write_bytes(encode_rows(ROWS[:10]) + b"\n \n" + encode_rows(ROWS[10:]))
    return found


def test_rows_by_position_are_those_of_the_file(path: Path) -> None:
    rows = Opened(path).rows
    assert list(rows) == [each for each in ROWS if each.example_id != "e3"]
    assert rows.num_left_out == 1
    assert rows[-1] == ROWS[-1]
    with pytest.raises(IndexError):
        rows[len(rows)]


def test_without_a_file_there_are_no_rows() -> None:
    rows = open_rows(None, is_used=lambda _: True, purpose=b"")
    assert (list(rows), rows.num_left_out) == ([], 0)


def test_a_second_start_reads_no_row(path: Path) -> None:
    first = Opened(path)
    second = Opened(path)
    assert (first.num_asked, second.num_asked) == (20, 0)
    assert list(second.rows) == list(first.rows)
    assert second.rows.num_left_out == 1


def change_rows(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"Question 5", b"Question 6"))


def flip_a_bit(path: Path) -> None:
    index = path.with_name("rows.jsonl.index")
    data = bytearray(index.read_bytes())
    data[-9] ^= 1
    index.write_bytes(data)


def cut_short(path: Path) -> None:
    index = path.with_name("rows.jsonl.index")
    index.write_bytes(index.read_bytes()[:-16])


@pytest.mark.parametrize("damage", [change_rows, flip_a_bit, cut_short])
def test_an_index_that_is_not_of_these_rows_is_made_again(path: Path, damage: Callable[[Path], None]) -> None:
    Opened(path)
    damage(path)
    again = Opened(path)
    assert again.num_asked == 20
    assert list(again.rows) == [each for each in read_rows(path) if each.example_id != "e3"]


def test_an_index_made_for_another_purpose_is_made_again(path: Path) -> None:
    Opened(path)
    assert Opened(path, purpose=b"2").num_asked == 20


def test_a_run_goes_on_without_room_for_an_index(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", refuse)
    assert len(Opened(path).rows) == 19
    assert [each.name for each in path.parent.iterdir()] == ["rows.jsonl"]


def test_a_line_that_is_no_row_is_named(path: Path) -> None:
    path.write_bytes(encode_rows(ROWS[:2]) + b"{}\n")
    with pytest.raises(InvalidRequest, match=r"Line 3 of rows\.jsonl"):
        Opened(path)


def test_a_length_is_measured_once_and_only_when_asked_for() -> None:
    measured: list[str] = []

    def measure(each: TrainingRow) -> int:
        measured.append(each.example_id)
        return 7

    lengths = TokenLengths(ROWS, measure)
    assert len(lengths) == 20
    assert [lengths[4], lengths[4], *lengths[4:6]] == [7, 7, 7, 7]
    assert measured == ["e4", "e5"]


def test_a_run_tokenises_what_its_steps_place_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = make_run(tmp_path, retained=ROWS * 50)
    num_encoded = 0
    real = Renderer.encode

    def counting(self, messages):  # type: ignore[no-untyped-def]
        nonlocal num_encoded
        num_encoded += 1
        return real(self, messages)

    monkeypatch.setattr(Renderer, "encode", counting)
    data = load_data(spec)
    assert len(data.rows.retained) == 1000
    at_start, num_encoded = num_encoded, 0
    data.step_batch(0)
    assert at_start <= 10
    assert num_encoded <= 40


def test_the_place_of_a_row_that_cannot_be_used_is_taken_by_the_next(tmp_path: Path) -> None:
    long = row("Long?", "very " * 3000, "long")
    spec = make_run(tmp_path, retained=[long, ROWS[0], long, ROWS[1]])
    data = load_data(spec)
    assert [data.sampler.lengths.retained[i] == UNUSABLE for i in range(4)] == [True, False, True, False]
    seen = {owner for step in range(8) for part in data.step_batch(step) for owner in part.owners.tolist()}
    num_new = len(data.rows.new)
    assert {num_new + 1, num_new + 3} <= seen
    assert not {num_new, num_new + 2} & seen
