from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from homefire.errors import CorruptData, NotFound, StoreError
from homefire.store.blobs import BlobStore, check_digest
from homefire.world import World
from tests.store.samples import PowerCutFiles

ONE = hashlib.sha256(b"one").hexdigest()


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path, World())


def flip_bit(path: Path, position: int = 0) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.chmod(0o600)
    path.write_bytes(data)


@given(data=st.binary(max_size=4096))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_what_was_put_is_read(blobs: BlobStore, data: bytes) -> None:
    digest = blobs.put_bytes(data)
    assert digest == hashlib.sha256(data).hexdigest()
    assert blobs.read(digest) == data
    assert blobs.verify(f"sha256:{digest}") == len(data)
    with blobs.open_verified(digest) as file:
        assert file.read() == data


def test_a_blob_lies_below_the_first_two_digits_of_its_digest(blobs: BlobStore) -> None:
    blobs.put_bytes(b"one")
    assert blobs.path(ONE) == blobs.root / ONE[:2] / ONE[2:]
    assert blobs.path(ONE).read_bytes() == b"one"
    assert list(blobs.all()) == [ONE]


@given(data=st.binary(min_size=1, max_size=300), where=st.floats(0, 1, exclude_max=True))
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_one_flipped_bit_is_noticed_before_use(blobs: BlobStore, data: bytes, where: float) -> None:
    digest = blobs.put_bytes(data)
    flip_bit(blobs.path(digest), int(where * len(data)))
    for use in (blobs.read, blobs.verify, blobs.open_verified):
        with pytest.raises(CorruptData, match=digest):
            use(digest)
    assert blobs.put_bytes(data) == digest
    assert blobs.read(digest) == data, "putting the right bytes again repairs the blob"


def test_planted_bug_reading_without_the_hash_would_miss_it(
    blobs: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = blobs.put_bytes(b"one")
    flip_bit(blobs.path(digest))
    monkeypatch.setattr(
        "homefire.store.blobs.check_digest", lambda digest: hashlib.sha256(b"nne").hexdigest()
    )
    monkeypatch.setattr(BlobStore, "path", lambda self, digest: self.root / ONE[:2] / ONE[2:])
    assert blobs.read(digest) != b"one"


@pytest.mark.parametrize(
    "digest",
    ["", "../../etc/passwd", "a" * 63, "a" * 65, "A" * 64, "a" * 62 + "/.", "sha256:../x", "a" * 64 + "\n"],
)
def test_what_is_no_digest_never_reaches_the_file_system(blobs: BlobStore, digest: str) -> None:
    for use in (blobs.path, blobs.read, blobs.verify, blobs.exists, check_digest):
        with pytest.raises(ValueError, match="SHA-256"):
            use(digest)


def test_a_missing_blob_is_not_found(blobs: BlobStore) -> None:
    assert not blobs.exists(ONE)
    with pytest.raises(NotFound):
        blobs.read(ONE)
    with pytest.raises(NotFound):
        blobs.verify(ONE)


def test_a_part_of_a_file_is_a_blob(blobs: BlobStore, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"zero one two")
    assert blobs.put_file(source, offset=5, size_bytes=3) == ONE
    assert blobs.read(blobs.put_file(source)) == b"zero one two"
    with pytest.raises(ValueError, match="ends"):
        blobs.put_file(source, offset=5, size_bytes=300)


def test_a_blob_is_flushed_before_it_has_its_name(tmp_path: Path) -> None:
    files = PowerCutFiles()
    BlobStore(tmp_path, World(files=files)).put_bytes(b"one")
    kinds = [operation for operation, _ in files.operations]
    assert kinds == ["fsync", "fsync-directory", "replace", "fsync-directory"]
    assert files.survivors(tmp_path / ONE[:2]) == {ONE[2:]: b"one"}


def test_putting_a_blob_again_flushes_the_name_an_interrupted_put_left(tmp_path: Path) -> None:
    cut = PowerCutFiles(cut_before=3)
    with pytest.raises(KeyboardInterrupt):
        BlobStore(tmp_path, World(files=cut)).put_bytes(b"one")
    (tmp_path / ONE[:2] / ONE[2:]).write_bytes(b"one")
    again = PowerCutFiles()
    BlobStore(tmp_path, World(files=again)).put_bytes(b"one")
    assert ("fsync-directory", ONE[:2]) in again.operations
    assert ("fsync-directory", tmp_path.name) in again.operations


def test_an_interrupted_put_leaves_no_name_and_its_remains_are_swept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs = BlobStore(tmp_path, World())
    (tmp_path / ".0123456789abcdef01234567.tmp").write_bytes(b"half")
    blobs.discard_temporaries()
    assert list(tmp_path.iterdir()) == []


def test_a_failing_disk_is_typed_and_leaves_nothing(tmp_path: Path) -> None:
    class Failing(PowerCutFiles):
        def fsync_file(self, path: Path) -> None:
            raise OSError(5, "Input/output error")

    with pytest.raises(StoreError):
        BlobStore(tmp_path, World(files=Failing())).put_bytes(b"one")
    assert list(tmp_path.iterdir()) == []
