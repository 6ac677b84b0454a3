"""A taken port names who has it, and a free one names nobody."""

from __future__ import annotations

import os
import socket
from types import SimpleNamespace

import psutil
import pytest

from homefire.machine.ports import describe_listener


def test_the_listener_is_named_with_its_number() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        described = describe_listener(server.getsockname()[1])
    assert described is not None
    assert f"(process {os.getpid()})" in described


def test_a_port_that_is_only_bound_or_free_has_no_listener() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        assert describe_listener(port) is None
    assert describe_listener(port) is None


def test_without_the_right_to_look_it_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(kind: str) -> None:
        raise psutil.AccessDenied

    monkeypatch.setattr(psutil, "net_connections", denied)
    assert describe_listener(80) is None


def test_a_process_that_ended_meanwhile_is_named_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(pid: int) -> None:
        raise psutil.NoSuchProcess(pid)

    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(psutil, "Process", gone)
        monkeypatch.setattr(psutil, "net_connections", lambda kind: [listening(server.getsockname()[1])])
        assert describe_listener(server.getsockname()[1]) == "process 7"


def listening(port: int) -> SimpleNamespace:
    return SimpleNamespace(status=psutil.CONN_LISTEN, laddr=SimpleNamespace(port=port), pid=7)
