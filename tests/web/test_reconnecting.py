"""An answer whose connection breaks while it is written: the page goes on and no character is missing."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from unittest import mock

import pytest
from playwright.sync_api import Browser, expect

from homefire.web.routes import add_pages
from tests.api import house as house_module
from tests.api.house import served

WORDS = " ".join(f"word{number}" for number in range(120))
ANSWER = f"First **of all**:\n\n{WORDS}\n\n```python\nx = 1\n```\n\nThe end."


class Cable:
    """Forwards connections to a port; `cut` breaks those that are open."""

    def __init__(self, to_port: int) -> None:
        self._to_port = to_port
        self._open: list[socket.socket] = []
        self._all: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._start(self._accept)

    def _start(self, work: Callable[..., None], *args: socket.socket) -> None:
        thread = threading.Thread(target=work, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._to_port))
                self._open += [near, far]
                self._all += [near, far]
                for source, target in ((near, far), (far, near)):
                    self._start(self._carry, source, target)

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        self._end(source, target)

    def _end(self, *ends: socket.socket) -> None:
        for end in ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def cut(self) -> None:
        """Break every open connection."""
        ended, self._open = self._open, []
        self._end(*ended)

    def close(self) -> None:
        """Forward no more."""
        self._end(self._listener)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join(5)
        for end in self._all:
            end.close()


@contextmanager
def slow_house_behind_a_cable(folder: Path) -> Iterator[Cable]:
    with (
        mock.patch.object(house_module, "CONTEXT_LENGTH", 4096),
        served(folder, answer=ANSWER, delay_s=0.03) as (url, house),
    ):
        add_pages(house.app)
        cable = Cable(int(url.rpartition(":")[2]))
        try:
            yield cable
        finally:
            cable.close()


@pytest.mark.parametrize("width", [375, 1280])
def test_a_broken_connection_costs_no_character(browser: Browser, tmp_path: Path, width: int) -> None:
    with slow_house_behind_a_cable(tmp_path) as cable:
        context = browser.new_context(
            viewport={"width": width, "height": 700}, base_url=f"http://127.0.0.1:{cable.port}"
        )
        page = context.new_page()
        page.goto("/")
        page.get_by_label("Your message").fill("Count.")
        page.keyboard.press("Enter")
        expect(page.locator(".streaming .text")).to_contain_text("word12")
        cable.cut()
        expect(page.locator(".actions")).to_have_count(1, timeout=20_000)
        text = page.locator("article.assistant > .text")
        expect(text).to_have_count(1)
        assert text.locator("p").all_inner_texts() == ["First of all:", WORDS, "The end."]
        assert text.locator("code").all_inner_texts() == ["x = 1\n"]
        assert page.locator(".streaming").count() == 0
        context.close()
