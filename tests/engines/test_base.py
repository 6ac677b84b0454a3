"""What two sources have in common is told by what they hold, not by where they lie."""

from __future__ import annotations

from homefire.engines.base import Adapter, FolderSource, GgufSource, UrlSource


def test_a_folder_is_known_by_its_files_wherever_and_in_whichever_order() -> None:
    files = {"a.json": "1", "b.json": "2"}
    one = FolderSource("/one", files)
    assert one.identity == FolderSource("/two", dict(reversed(files.items()))).identity
    others = [{"a.json": "1"}, {"a.json": "2", "b.json": "1"}, {"a.json": "1", "c.json": "2"}]
    assert all(one.identity != FolderSource("/one", other).identity for other in others)


def test_an_adapter_is_another_model_on_another_base() -> None:
    bases = [None, FolderSource("/base", {"w": "1"}), FolderSource("/base", {"w": "2"})]
    identities = [FolderSource("/adapter", {"l": "3"}, base).identity for base in bases]
    assert len(set(identities)) == 3
    assert identities[1] == FolderSource("/x", {"l": "3"}, FolderSource("/y", {"w": "1"})).identity


def test_a_file_is_known_by_its_bytes_and_those_of_its_adapters() -> None:
    alone = GgufSource("/a", "1")
    assert alone.identity == GgufSource("/b", "1").identity
    taught = [GgufSource("/a", "1", (Adapter("/x", number),)) for number in ("2", "3")]
    assert len({alone.identity, *(source.identity for source in taught)}) == 3


def test_a_model_elsewhere_is_known_by_server_and_name() -> None:
    sources = [UrlSource("http://a", "m"), UrlSource("http://b", "m"), UrlSource("http://a", "n")]
    assert len({source.identity for source in sources}) == 3
