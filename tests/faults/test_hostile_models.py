"""A model that was made to do harm, beside ordinary requests: those are answered, and nothing goes on afterwards."""

from __future__ import annotations

import contextlib
import shutil
import threading
import urllib.error
from pathlib import Path

import psutil

from tests.catalog.test_inspection import LOOP, deep_template, endless_layers, pipe
from tests.engines.support import ember_folder
from tests.support.server import running_server
from tests.support.wire import Answer, post, wait_until


def looking(pid: int) -> list[psutil.Process]:
    """The processes in which this server looks at a model now."""
    found = []
    for child in psutil.Process(pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if "homefire.catalog.inspect" in child.cmdline():
                found.append(child)
    return found


def hostile(root: Path, name: str) -> Path:
    return Path(shutil.copytree(ember_folder(), root / name))


def test_who_asks_meanwhile_is_answered_and_nothing_goes_on_after_the_end(tmp_path: Path) -> None:
    endless = hostile(tmp_path, "endless")
    (endless / "chat_template.jinja").write_text(LOOP)
    with running_server(tmp_path / "home", settings={"server.drain_timeout_s": "1"}) as server:

        def add(path: Path) -> Answer:
            return post(server.url + "/v1/homefire/models", {"path": str(path), "name": path.name})

        def add_and_be_cut_off() -> None:
            with contextlib.suppress(OSError, urllib.error.URLError, ValueError):
                add(endless)

        waiting = threading.Thread(target=add_and_be_cut_off)
        waiting.start()
        wait_until(lambda: looking(server.process.pid) != [])
        (child,) = looking(server.process.pid)
        for harm in (pipe, endless_layers, deep_template):
            folder = hostile(tmp_path, harm.__name__.replace("_", "-"))
            harm(folder)
            said = add(folder)  # the endless one holds no lock
            assert (said.status, said.body["error"]["code"]) == (422, "bad_model"), said
            assert server.get("/health")["state"] == "ok"
            assert post(server.url + "/api/show", {"model": "ember"}).status == 200
        assert child.is_running()
        assert [row["name"] for row in server.get("/v1/homefire/models")["models"]][-1] == "ember"
        assert server.stop() == 0
        waiting.join(30)
        assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
    assert "Traceback" not in server.log.read_text()


def test_a_template_that_never_ends_is_shown_as_text(tmp_path: Path) -> None:
    """A model that was added before, or by other means, may have one."""
    with running_server(tmp_path / "home") as server:
        folder = hostile(tmp_path, "mine")
        added = post(
            server.url + "/v1/homefire/models", {"path": str(folder), "name": "mine", "in_place": True}
        )
        assert added.status == 200, added
        (folder / "chat_template.jinja").write_text(LOOP)
        shown = post(server.url + "/api/show", {"model": "mine"})
        assert (shown.status, shown.body["template"]) == (200, LOOP)
        assert looking(server.process.pid) == []
        refused = post(server.url + "/v1/chat", {"message": "Hello", "model": "mine"})
        assert (refused.status, refused.body["error"]["code"]) == (500, "corrupt_data")
