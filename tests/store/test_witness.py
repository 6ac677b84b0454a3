"""Acknowledged events that are gone are noticed and named, however whole what is left looks."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homefire.errors import CorruptData
from homefire.home import Home
from homefire.store import store as store_module
from homefire.store.log import LogTail
from homefire.store.store import Store
from homefire.store.witness import SLOT_BYTES, Reading, Witness, read_witness
from tests.store.conftest import Opener
from tests.store.samples import turn

NUM_EVENTS = 28
CHILD = """
import sys, time
from pathlib import Path
from homefire.config.schema import StoreSettings
from homefire.home import Home
from homefire.store.store import open_store
from homefire.world import World
from tests.store.samples import turn
store = open_store(Home(Path(sys.argv[1])), StoreSettings(reserve_bytes=0), World())
for number in range(28):
    store.append_sync(turn(str(number), session=f"s{number}"))
print("done", flush=True)
time.sleep(600)
"""


@pytest.fixture
def killed(home: Home) -> Home:
    """A home whose server was killed with all it recorded in the write-ahead log."""
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(home.root)], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    assert child.stdout is not None
    with child.stdout as output:
        assert output.readline() == b"done\n"
        child.send_signal(signal.SIGKILL)
    child.wait()
    return home


def flip_the_middle_of_the_wal(home: Home) -> None:
    wal = home.root / "homefire.db-wal"
    data = bytearray(wal.read_bytes())
    data[len(data) // 2] ^= 1
    wal.write_bytes(data)


def test_a_kill_alone_is_no_loss(killed: Home, open_here: Opener) -> None:
    store = open_here()
    assert (store.last_seq, store.losses.list()) == (NUM_EVENTS, [])


def test_a_flipped_bit_in_the_write_ahead_log_is_named_with_numbers(
    killed: Home, open_here: Opener, caplog: pytest.LogCaptureFixture
) -> None:
    flip_the_middle_of_the_wal(killed)
    store = open_here()
    (loss,) = store.losses.list()
    left = loss.last_seq
    assert 0 < left < NUM_EVENTS
    assert (loss.witnessed_seq, loss.num_events) == (NUM_EVENTS, NUM_EVENTS - left)
    assert f"The log ends at event {left}, and event {NUM_EVENTS} was recorded" in caplog.text
    assert f"{NUM_EVENTS - left} acknowledged events are lost" in caplog.text
    assert any("db-wal" in path.name for path in killed.backups.iterdir()), "what can be saved is kept"
    report = store.check()
    assert report.is_sound
    assert report.losses[0].startswith(f"{NUM_EVENTS - left} acknowledged events")
    store.close()
    assert len(open_here().losses.list()) == 1, "it is recorded once, and not forgotten"


def test_planted_bug_without_the_witness_the_loss_is_silent(
    killed: Home, open_here: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "read_witness", lambda path: Reading(None, False))
    flip_the_middle_of_the_wal(killed)
    store = open_here()
    assert store.last_seq < NUM_EVENTS
    assert store.losses.list() == []
    assert store.check().problems == ()


def test_a_database_that_is_gone_is_not_begun_anew(home: Home, open_here: Opener) -> None:
    store = open_here()
    store.append_sync(turn("1"))
    store.close()
    home.database.unlink()
    with pytest.raises(CorruptData, match="gone or empty, and 1 events were recorded"):
        open_here()
    assert not home.database.exists()
    home.witness.unlink()
    assert open_here().last_seq == 0


def test_an_older_database_is_noticed(home: Home, open_here: Opener, tmp_path: Path) -> None:
    store = open_here()
    store.append_sync(turn("1"))
    store.close()
    shutil.copyfile(home.database, tmp_path / "old.db")
    store = open_here()
    store.append_sync(turn("2", session="s2"))
    store.close()
    shutil.copyfile(tmp_path / "old.db", home.database)
    (loss,) = open_here().losses.list()
    assert (loss.last_seq, loss.witnessed_seq) == (1, 2)


def test_another_log_of_the_same_length_is_noticed(home: Home, open_here: Opener, tmp_path: Path) -> None:
    store = open_here()
    shutil.copyfile(home.database, tmp_path / "empty.db")
    store.append_sync(turn("1"))
    store.close()
    witness = home.witness.read_bytes()
    store = open_here()
    store.close()
    home.database.unlink()
    home.witness.unlink()
    store = open_here()
    store.append_sync(turn("2"))
    store.close()
    home.witness.write_bytes(witness)
    (loss,) = open_here().losses.list()
    assert (loss.last_seq, loss.witnessed_seq) == (1, 1)


def test_a_crash_between_commit_and_witness_is_no_loss(
    home: Home, open_here: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_here()
    store.append_sync(turn("1"))
    with monkeypatch.context() as patch:
        patch.setattr(Witness, "note", lambda self, tail: None)
        store.append_sync(turn("2", session="s2"))
        store.close()
    tail = read_witness(home.witness).tail
    assert tail is not None
    assert tail.seq == 1
    assert open_here().losses.list() == []


def test_a_witness_that_cannot_be_written_stops_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(self: Witness, tail: LogTail) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Witness, "note", fail)
    store.append_sync(turn("1"))
    store.append_sync(turn("2", session="s2"))
    assert store.last_seq == 2
    assert len([one for one in caplog.records if one.levelno == logging.WARNING]) == 1, "said once"


@given(cut=st.integers(0, SLOT_BYTES + 48), flip=st.integers(0, SLOT_BYTES + 47))
def test_one_damaged_slot_leaves_the_other(
    tmp_path_factory: pytest.TempPathFactory, cut: int, flip: int
) -> None:
    path = tmp_path_factory.mktemp("witness") / "tail"
    witness = Witness(path)
    tails = [LogTail(seq, bytes([seq]) * 32) for seq in (1, 2, 3)]
    for tail in tails:
        witness.note(tail)
    witness.flush()
    witness.close()
    assert read_witness(path) == Reading(tails[-1], False)
    data = bytearray(path.read_bytes())
    data[flip] ^= 1
    path.write_bytes(data)
    assert read_witness(path).tail in tails[1:]
    path.write_bytes(path.read_bytes()[:cut])
    assert read_witness(path).tail in (*tails[1:], None)


def test_no_file_is_no_witness(tmp_path: Path) -> None:
    assert read_witness(tmp_path / "tail") == Reading(None, False)
    (tmp_path / "tail").write_bytes(os.urandom(600))
    assert read_witness(tmp_path / "tail") == Reading(None, True)
