"""`homefire keys …`."""

from __future__ import annotations

from tests.cli.conftest import Command
from tests.cli.fake_server import FakeServer


def test_keys_are_listed_made_and_revoked(homefire: Command, server: FakeServer) -> None:
    listed = homefire("keys", "list").out
    assert "of this home" in listed
    assert "phone" in listed
    made = homefire("keys", "create", "phone")
    assert made.out.strip() == "hf-shown-once", "alone on standard output, for a pipe"
    assert homefire("keys", "revoke", "key_phone", "--yes").code == 0
    assert server.state.sent("POST", "/v1/keys") == [{"name": "phone"}]
    for arguments in (("list",), ("create", "phone"), ("revoke", "key_phone", "--yes")):
        assert isinstance(homefire("keys", *arguments, "--json").document, dict)


def test_nothing_is_revoked_without_a_yes(homefire: Command, server: FakeServer) -> None:
    assert homefire("keys", "revoke", "key_phone").code == 2
    assert server.state.sent("DELETE", "/v1/keys/key_phone") == []
