"""The engine worker: `python -m homefire.engines.worker --connection FD --directory PATH --parent PID`.

A child process that holds one model and answers the server over a socket that it inherits (`protocol.py`).
It ends with the server, whatever ends that: the kernel kills it (PR_SET_PDEATHSIG), and the end of the stream
makes it leave.

Threads: the main one reads frames and never computes, so that pings and cancellations are answered at once;
one for each slot generates; one counts and embeds; one writes. The writer sends a first piece at once and
then gathers pieces for `GATHER_S`, so a fast model does not drown the server in one-token frames.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import os
import queue
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from homefire.engines import protocol
from homefire.engines.base import Delta, ModelSpec
from homefire.engines.llama import LlamaModel
from homefire.engines.llama_stream import Job
from homefire.errors import EngineCrashed, EngineOutOfMemory, HomefireError
from homefire.machine.parent import die_with_parent

GATHER_S = 0.004
_READ_BYTES = 1 << 16


class Outbox:
    """Frames on their way to the server, in order; neighbouring pieces of one answer become one frame."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._frames: queue.SimpleQueue[protocol.ToServer] = queue.SimpleQueue()
        self._urgent = threading.Event()
        threading.Thread(target=self._write_all, name="writer", daemon=True).start()

    def put(self, frame: protocol.ToServer, *, urgent: bool = True) -> None:
        """Send soon; at once when urgent."""
        self._frames.put(frame)
        if urgent:
            self._urgent.set()

    def _write_all(self) -> None:
        while True:
            pending = [self._frames.get()]
            self._urgent.wait(GATHER_S)
            self._urgent.clear()
            with contextlib.suppress(queue.Empty):
                while True:
                    pending.append(self._frames.get_nowait())
            try:
                self._connection.sendall(b"".join(protocol.encode(frame) for frame in join_pieces(pending)))
            except OSError:
                os._exit(0)  # the server is gone


def join_pieces(frames: list[protocol.ToServer]) -> list[protocol.ToServer]:
    """The same answers in fewer frames: a piece joins the piece of its answer before it."""
    joined: list[protocol.ToServer] = []
    open_pieces: dict[int, int] = {}
    for frame in frames:
        if not isinstance(frame, protocol.Item) or not isinstance(frame.item, Delta):
            if isinstance(frame, protocol.Item):
                open_pieces.pop(frame.call, None)
            joined.append(frame)
            continue
        place = open_pieces.get(frame.call)
        if place is None:
            open_pieces[frame.call] = len(joined)
            joined.append(frame)
            continue
        earlier = joined[place]
        assert isinstance(earlier, protocol.Item)
        assert isinstance(earlier.item, Delta)
        text, logprobs = earlier.item.text + frame.item.text, earlier.item.logprobs + frame.item.logprobs
        joined[place] = protocol.Item(frame.call, Delta(text, logprobs))
    return joined


class Worker:
    """Reads frames until the stream ends, and hands the work to threads."""

    def __init__(self, connection: socket.socket, directory: Path) -> None:
        self._connection, self._directory = connection, directory
        self._outbox = Outbox(connection)
        self._model: LlamaModel | None = None
        self._jobs: dict[int, Job] = {}
        self._waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._aside: queue.SimpleQueue[protocol.Count | protocol.Embed] = queue.SimpleQueue()

    def run(self) -> None:
        """Until the server closes the connection."""
        reader, decoder = protocol.FrameReader(), protocol.to_worker_decoder()
        while data := self._connection.recv(_READ_BYTES):
            for body in reader.feed(data):
                self._take(protocol.decode_body(decoder, body))

    def _take(self, frame: protocol.ToWorker) -> None:
        match frame:
            case protocol.Ping():
                self._outbox.put(protocol.Pong())
            case protocol.Cancel(call):
                job = self._jobs.get(call)
                if job is not None:
                    job.cancelled.set()
            case protocol.Generate(call, request):
                self._jobs[call] = Job(request, time.monotonic(), threading.Event())
                self._waiting.put(call)
            case protocol.Count() | protocol.Embed():
                self._aside.put(frame)
            case protocol.Load(spec):
                threading.Thread(target=self._load, args=(spec,), name="loader", daemon=True).start()

    def _load(self, spec: ModelSpec) -> None:
        started_s = time.monotonic()

        def load() -> protocol.ToServer:
            # Niceness is per thread on Linux and inherited: all that computes descends from this one.
            os.nice(spec.nice)
            self._model = LlamaModel(spec, directory=self._directory)
            for index in range(spec.num_parallel):
                threading.Thread(target=self._generate_all, name=f"slot-{index}", daemon=True).start()
            threading.Thread(target=self._answer_side_requests, name="aside", daemon=True).start()
            return protocol.Ready((time.monotonic() - started_s) * 1000)

        self._outbox.put(guarded(0, load))

    def _generate_all(self) -> None:
        while True:
            call = self._waiting.get()
            self._outbox.put(guarded(call, functools.partial(self._generate, call)))
            del self._jobs[call]

    def _generate(self, call: int) -> protocol.ToServer:
        assert self._model is not None
        is_first = True

        def emit(piece: Delta | None) -> None:
            nonlocal is_first
            if piece is None:
                self._outbox.put(protocol.Working(call), urgent=False)
                return
            self._outbox.put(protocol.Item(call, piece), urgent=is_first)
            is_first = False

        return protocol.Item(call, self._model.generate(self._jobs[call], emit))

    def _answer_side_requests(self) -> None:
        while True:
            frame = self._aside.get()
            self._outbox.put(guarded(frame.call, functools.partial(self._answer_side_request, frame)))

    def _answer_side_request(self, frame: protocol.Count | protocol.Embed) -> protocol.ToServer:
        assert self._model is not None
        if isinstance(frame, protocol.Count):
            return protocol.Counted(frame.call, self._model.count(frame.messages, frame.prompt))
        return protocol.Embedded(frame.call, self._model.embed(frame.texts))


def guarded(call: int, work: Callable[[], protocol.ToServer]) -> protocol.ToServer:
    """The frame that `work` makes, or the error it raised as a frame: a request's failure stays its own."""
    try:
        return work()
    except HomefireError as error:
        return protocol.failed(call, error)
    except MemoryError:
        return protocol.failed(call, EngineOutOfMemory("The engine ran out of memory."))
    except Exception as error:  # noqa: BLE001 - it is reported to the one who asked
        return protocol.failed(call, EngineCrashed(f"The engine failed: {type(error).__name__}: {error}."))


def main() -> None:
    """The child process."""
    parser = argparse.ArgumentParser(prog="python -m homefire.engines.worker", description=__doc__)
    parser.add_argument("--connection", type=int, required=True)
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--parent", type=int, required=True)
    options = parser.parse_args()
    if not die_with_parent(options.parent):
        return
    # Interrupting the server in a terminal reaches its children too; the server says when to stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.umask(0o177)
    # A Unix address holds 107 bytes; the way through the open directory is always short enough.
    descriptor = os.open(options.directory, os.O_RDONLY | os.O_DIRECTORY)
    with socket.socket(fileno=options.connection) as connection:
        Worker(connection, Path(f"/proc/self/fd/{descriptor}")).run()
    # Threads may be inside native code: leave without waiting for them.
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
