"""Listening and ending: ports, addresses, and a drain that loses no answer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from homefire.api.run import address_url, bind, open_listener
from homefire.errors import ConfigError, PortTaken
from tests.api.house import RUN, close_house, open_house

BODY = {"message": "hi", "stream": True}


@contextmanager
def child(
    folder: Path, *, delay_s: float = 0.0, drain_timeout_s: float = 5.0
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A listening house in another process."""
    command = [sys.executable, "-m", "tests.api.serve_house", str(folder), str(delay_s), str(drain_timeout_s)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip(), process
        finally:
            process.kill()


def test_sigterm_lets_a_running_answer_finish_and_takes_no_new_one(tmp_path: Path) -> None:
    with child(tmp_path, delay_s=0.2) as (url, process):
        with httpx.stream("POST", f"{url}/v1/chat", json=BODY, timeout=20) as answer:
            lines = answer.iter_lines()
            assert next(lines) == "event: started"
            process.send_signal(signal.SIGTERM)
            rest = list(lines)
        assert "event: ended" in rest
        assert process.wait(10) == 0
        assert process.stdout is not None
        assert process.stdout.read() == "ended\n"
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/health")


def test_an_answer_that_outlasts_the_drain_is_cancelled_and_told(tmp_path: Path) -> None:
    with child(tmp_path, delay_s=30, drain_timeout_s=1) as (url, process), ThreadPoolExecutor() as pool:
        waiting = pool.submit(httpx.post, f"{url}/v1/chat", json={"message": "hi"}, timeout=20)
        while httpx.get(f"{url}/v1/status").json()["queue"]["active"] == 0:
            time.sleep(0.01)
        asked_s = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        assert time.monotonic() - asked_s < 5
        answer = waiting.result()
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "server_stopping"


def test_a_stream_without_an_end_does_not_hold_up_the_drain(tmp_path: Path) -> None:
    with child(tmp_path, drain_timeout_s=20) as (url, process):
        with httpx.stream("GET", f"{url}/v1/runs/{RUN}/events", timeout=20) as answer:
            assert answer.status_code == 200
            asked_s = time.monotonic()
            process.send_signal(signal.SIGINT)
            assert "".join(answer.iter_text()) == ""
        assert process.wait(10) == 0
        assert time.monotonic() - asked_s < 5


def test_a_taken_port_is_named_with_its_holder() -> None:
    with bind("127.0.0.1", 0) as held, pytest.raises(PortTaken) as refused:
        bind("127.0.0.1", held.getsockname()[1])
    assert str(os.getpid()) in refused.value.message
    assert refused.value.details["port"]


def test_an_address_of_another_machine_is_a_setting_to_correct() -> None:
    with pytest.raises(ConfigError) as refused:
        bind("192.0.2.1", 0)
    assert refused.value.details["key"] == "server.host"


async def test_without_a_key_it_refuses_to_listen_beyond_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = await open_house(tmp_path, host="0.0.0.0", port=0)
    monkeypatch.setattr(house.store.keys, "list", list)
    with pytest.raises(ConfigError, match="without an API key"):
        open_listener(house.app)
    await close_house(house)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8765"),
        ("0.0.0.0", "http://127.0.0.1:8765"),
        ("::", "http://127.0.0.1:8765"),
        ("::1", "http://[::1]:8765"),
        ("localhost", "http://localhost:8765"),
    ],
)
def test_the_address_is_one_that_a_browser_here_can_open(host: str, url: str) -> None:
    assert address_url(host, 8765) == url
