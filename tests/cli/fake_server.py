"""A small server that speaks the native API as `homefire.api.native_types` declares it, with canned state.

For tests of the command line alone: it answers at once, keeps what it was sent, and does what a test tells it
to (fail, hang, drop the connection).
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec

from homefire.api import native_types as native
from homefire.api.native_keys import Keys, KeyView, NewKey, RevokedKey
from homefire.catalog.scrub import ScrubStatus
from homefire.errors import HomefireError, ModelNotFound, NotFound
from homefire.home import proof_of_home
from homefire.store.nouns.conversation_rows import MessageRow, SessionRow, TurnRow
from homefire.training.correction_states import CorrectionView
from homefire.training.corrections import FeedbackReceipt
from homefire.training.fitness import Fitness
from homefire.training.progress import Progress
from homefire.types import Content, Timings, Usage
from homefire.versions.comparison import Comparison, LayerChange
from homefire.versions.report import GateReport, gate_report

AT_S = 1_795_000_000.0
EARLIER = "run_0000000000010000000000000000"
FEEDBACK = "feedback_0000000000020000000000000000"
RUN = "run_0000000000030000000000000000"


def report(version: str, *, passed: bool = True, reasons: tuple[str, ...] = ()) -> GateReport:
    """The gate's verdict on a version that learned one correction, or did not."""
    scores = {"num_targets": 1, "num_targets_right": int(passed), "protected_before": 6, "protected_now": 6}
    return gate_report(version, passed=passed, reasons=reasons, scores=scores, live="v001")


def run_view(state: str = "done", **changes: Any) -> native.RunView:
    """A run that ended well, unless changed."""
    values: dict[str, Any] = {
        "run_id": RUN, "dataset_id": "d" * 64, "base": "ember", "parent": "ember", "recipe": {"mode": "full"},
        "priority": "normal", "state": state, "epoch": 1, "attempts": 0, "step": 45, "queued_at_s": AT_S,
        "started_at_s": AT_S + 1, "ended_at_s": AT_S + 9, "who": "training", "why": "", "metrics": {"loss": 0.01},
        "version": "v001", "progress": None, "promoted": True, "gate_passed": True, "gate_reasons": (),
        "gate_report": report("v001"),
    }  # fmt: skip
    return native.RunView(**{**values, **changes})


def key_view(name: str, *, is_home: bool = False) -> KeyView:
    return KeyView(key_id=f"key_{name}", name=name, created_at_s=1.0, revoked_at_s=None, is_home=is_home)


def correction_view(state: Any = "waiting", **changes: Any) -> CorrectionView:
    """A correction, waiting unless changed."""
    values: dict[str, Any] = {
        "example_id": "e" * 64, "question": "Where is the key?", "answer": "Under the pot.",
        "num_messages_before": 0, "state": state, "live": False, "version": None, "run_id": None,
        "run_state": None, "why": "", "reasons": (), "helps": "", "next": "The next run learns it.",
        "superseded_by": None, "turn_id": None, "created_at_s": AT_S, "seq": 7,
    }  # fmt: skip
    return CorrectionView(**{**values, **changes})


def version_view(version: str = "v001", **changes: Any) -> native.VersionView:
    """A version that passed, unless changed."""
    values: dict[str, Any] = {
        "version": version, "run_id": RUN, "base": "ember", "parent": "ember", "manifest_sha256": "a" * 64,
        "digest": "sha256:" + "b" * 64, "size_bytes": 1_506_232, "description": "one correction",
        "created_at_s": AT_S, "removed_at_s": None, "gate_passed": True, "gate_reasons": ("targets 1/1",),
        "gate_scores": {"targets": 1.0}, "live": version == "v001", "folder": f"/home/versions/{version}",
        "gate_report": report(version),
    }  # fmt: skip
    return native.VersionView(**{**values, **changes})


def model_view(name: str = "ember", **changes: Any) -> native.ModelView:
    """A model."""
    values: dict[str, Any] = {
        "name": name, "kind": "base", "target": None, "format": "safetensors", "folder": "/m",
        "digest": "sha256:1", "base": None, "parent": None, "architecture": "Qwen3ForCausalLM",
        "num_parameters": 375_648, "size_bytes": 1_506_232, "context_length": 2048,
        "trainable": True, "why_not_trainable": None, "created_at_s": AT_S,
    }  # fmt: skip
    return native.ModelView(**{**values, **changes})


FITNESS = Fitness(name="ember", teachable=True, why_not=None, warnings=("It gives the same answers.",))


def added_model(name: str) -> native.AddedModel:
    """A model that was just added."""
    view = model_view(name)
    fields = {each: getattr(view, each) for each in view.__struct_fields__}
    return native.AddedModel(**fields, fitness=FITNESS)


def comparison(a: str, b: str) -> Comparison:
    """Two versions that differ in one layer, one score and one skill."""
    skill = {"num": 6, "before": 6, "now": 6}
    return Comparison(
        a=a, b=b, num_tensors=35, num_changed=0 if a == b else 11,
        layers=(LayerChange(layer="layer 0", num_tensors=11, num_changed=0 if a == b else 11),),
        metrics={"steps": (20, 20)}, scores={"protected_ratio": (1.0, 1.0 if a == b else 0.98765)},
        skills={"add": (skill, skill if a == b else {**skill, "now": 5})},
        examples_only_in_a=(), examples_only_in_b=() if a == b else ("e" * 64,),
    )  # fmt: skip


SESSION = SessionRow(
    session_id="session_1", key="k", principal="local", channel="cli", title="Hello", created_at_s=AT_S,
    updated_at_s=AT_S, tip_message_id="m2", num_turns=1, seq=1,
)  # fmt: skip
TURN = TurnRow(
    turn_id="turn_1", seq=1, at_s=AT_S, session_id="session_1", session_key="k", principal="local",
    channel="cli", parent_message_id=None, user_message_id="m1", answer_message_id="m2",
    requested_model="default", served_model="ember", served_digest="d", route_reason="r",
    outcome="answered", stop_reason="stop", usage=None, timings=None, num_trimmed_messages=0,
    error_code=None, error=None, verdict=None,
)  # fmt: skip


def _message(message_id: str, role: str, content: Content) -> MessageRow:
    return MessageRow(
        message_id=message_id, session_id="session_1", parent_id=None, role=role, content=content,
        created_at_s=AT_S,
    )  # fmt: skip


@dataclass
class State:
    """What the server knows; tests change it."""

    answer: str = "Hello, I am ember."
    content: Content = "Hello"
    """What the assistant said in the session."""
    stop_reason: str = "stop"
    num_trimmed_messages: int = 0
    key: str | None = None
    """Asked for where set."""
    token: str | None = None
    """Of the home that it serves, if any."""
    keys_seen: set[str] = field(default_factory=set)
    """The Authorization headers of all that arrived."""
    run: native.RunView = field(default_factory=run_view)
    runs: list[native.RunView] | None = None
    """What is listed; `run` alone where None."""
    open_runs: list[native.RunView] = field(default_factory=list)
    live: str = "v001"
    waiting_reason: str | None = None
    correction: CorrectionView = field(default_factory=correction_view)
    after_run: CorrectionView = field(
        default_factory=lambda: correction_view("learned", live=True, version="v001", run_id=RUN)
    )
    """The correction that was given, when its run has ended."""
    unlearned: tuple[CorrectionView, ...] = ()
    progress: list[Progress] = field(default_factory=list)
    report: native.Report = field(default_factory=lambda: native.Report(True, [], 9, 1_506_232))
    models: list[native.ModelView] = field(
        default_factory=lambda: [
            model_view(),
            model_view("default", kind="alias", target="live"),
            model_view("live", kind="alias", target="v001"),
        ]
    )
    sessions: list[SessionRow] = field(default_factory=lambda: [SESSION])
    chat_error: HomefireError | None = None
    error_after_deltas: HomefireError | None = None
    arrived: threading.Event = field(default_factory=threading.Event)
    """Set by the first request."""
    hold_everything: threading.Event = field(default_factory=threading.Event)
    """While it is set nothing is answered."""
    hold_first: threading.Event | None = None
    """Before the first delta: wait for it."""
    hold_progress: threading.Event | None = None
    """Before the last progress: wait for it."""
    num_waiting: int = 0
    is_loading: bool = False
    hold: threading.Event | None = None
    """After the first delta: wait for it."""
    requests: list[tuple[str, str, Any]] = field(default_factory=list)
    """(method, path with query, body) of all that arrived."""
    disconnects: int = 0
    first_delta_sent: threading.Event = field(default_factory=threading.Event)

    def sent(self, method: str, path: str) -> list[Any]:
        """The bodies that were sent to a path."""
        return [body for verb, target, body in self.requests if verb == method and target == path]


class FakeServer:
    """Runs on a thread between `__enter__` and `__exit__`."""

    def __init__(self, state: State | None = None) -> None:
        self.state = state or State()
        state_now = self.state

        class Handler(_Handler):
            state = state_now

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> FakeServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for held in (self.state.hold, self.state.hold_first, self.state.hold_progress):
            if held is not None:
                held.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    state: State
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Silence."""

    def do_GET(self) -> None:
        self._serve("GET")

    def do_POST(self) -> None:
        self._serve("POST")

    def do_PATCH(self) -> None:
        self._serve("PATCH")

    def do_DELETE(self) -> None:
        self._serve("DELETE")

    def _serve(self, method: str) -> None:
        length = int(self.headers.get("content-length") or 0)
        raw = self.rfile.read(length)
        body = json.loads(raw) if raw else None
        self.state.requests.append((method, self.path, body))
        self.state.keys_seen |= set(self.headers.get_all("authorization") or ())
        parts = urlsplit(self.path)
        self.state.arrived.set()
        while self.state.hold_everything.is_set():
            time.sleep(0.01)
        needed = None if parts.path == "/health" else self.state.key
        if needed is not None and self.headers.get("authorization") != f"Bearer {needed}":
            self._error(
                401, {"code": "authentication_required", "message": "No key.", "hint": None, "details": {}}
            )
            return
        try:
            answer = self._answer(method, parts.path, dict(parse_qsl(parts.query)), body)
        except HomefireError as error:
            shown = {
                "code": error.code,
                "message": error.message,
                "hint": error.hint,
                "details": error.details,
            }
            self._error(error.http_status, shown)
            return
        if isinstance(answer, _Stream):
            self._stream(answer.events)
        elif isinstance(answer, str):
            self._send(200, answer.encode(), "text/markdown; charset=utf-8")
        else:
            self._send(200, msgspec.json.encode(answer), "application/json")

    def _answer(self, method: str, path: str, query: dict[str, str], body: Any) -> Any:
        state = self.state
        found: Callable[[], Any] | None = {
            ("GET", "/health"): lambda: self._health(query.get("challenge")),
            ("GET", "/v1/status"): self._status,
            ("POST", "/v1/chat"): lambda: self._chat(body),
            ("POST", "/v1/feedback"): lambda: self._given(body),
            ("POST", "/v1/corrections"): lambda: self._given(body),
            ("GET", "/v1/runs"): lambda: native.Runs([state.run] if state.runs is None else state.runs),
            ("POST", "/v1/runs"): lambda: state.run,
            ("GET", f"/v1/runs/{RUN}"): lambda: state.run,
            ("GET", f"/v1/runs/{RUN}/events"): lambda: _Stream(self._progress()),
            ("GET", "/v1/queue"): lambda: native.Queue(
                state.open_runs, 2, state.waiting_reason, state.unlearned
            ),
            ("GET", "/v1/keys"): lambda: Keys([key_view("home", is_home=True), key_view("phone")]),
            ("POST", "/v1/keys"): lambda: NewKey("key_new", body["name"], "hf-shown-once"),
            ("DELETE", "/v1/keys/key_phone"): lambda: RevokedKey("key_phone"),
            ("GET", "/v1/corrections"): lambda: native.CorrectionsPage([state.correction], None),
            ("GET", "/v1/corrections/eeeeeeee"): lambda: state.correction,
            ("GET", f"/v1/corrections/{'e' * 64}"): lambda: state.after_run,
            ("POST", "/v1/corrections/eeeeeeee/settle"): lambda: state.correction,
            ("PATCH", "/v1/corrections/eeeeeeee"): lambda: correction_view(answer=body["answer"]),
            ("DELETE", "/v1/corrections/eeeeeeee"): lambda: correction_view("withdrawn", next=""),
            ("POST", "/v1/corrections/eeeeeeee/retry"): lambda: state.run,
            ("GET", "/v1/versions"): lambda: native.Versions(
                [version_view(), version_view("v002")], state.live, "ember"
            ),
            ("GET", "/v1/versions/v001"): version_view,
            ("DELETE", "/v1/versions/v002"): lambda: native.Removed("v002"),
            ("POST", "/v1/versions/rollback"): lambda: native.Moved("ember", "v001"),
            ("POST", "/v1/versions/v002/promote"): lambda: native.Moved("v002", "v001"),
            ("POST", "/v1/versions/v001/verify"): lambda: state.report,
            ("POST", "/v1/versions/v002/verify"): lambda: native.Report(True, [], 9, 10),
            ("GET", "/v1/versions/compare"): lambda: comparison(query["a"], query["b"]),
            ("GET", "/v1/homefire/models"): lambda: native.Models(state.models),
            ("POST", "/v1/homefire/models"): lambda: added_model(body.get("name") or "added"),
            ("POST", "/v1/homefire/models/ember/check"): lambda: FITNESS,
            ("GET", "/v1/homefire/models/ember"): lambda: model_view("ember"),
            ("POST", "/v1/homefire/models/ember/verify"): lambda: state.report,
            ("DELETE", "/v1/homefire/models/ember"): lambda: native.Removed("ember"),
            ("GET", "/v1/sessions"): lambda: native.Sessions(state.sessions),
            ("GET", "/v1/sessions/session_1"): lambda: native.SessionView(
                SESSION, [_message("m1", "user", "Hi"), _message("m2", "assistant", state.content)], [TURN]
            ),
            ("GET", "/v1/sessions/session_1/export"): lambda: (
                f"# {state.content}\n"
                if query.get("format") == "md"
                else {"session": "session_1", "said": state.content}
            ),
            ("GET", "/v1/route"): lambda: self._route(query.get("model", "default")),
        }.get((method, path))
        if found is not None:
            return found()
        if path.startswith(f"/v1/runs/{RUN}/") and method == "POST":
            return msgspec.structs.replace(state.run, state="paused", version=None)
        raise NotFound(f"There is nothing at {path}.", hint="Look elsewhere.", path=path)

    def _health(self, challenge: str | None) -> native.Health:
        if challenge is None or self.state.token is None:
            return native.Health("ok", "ok")
        return native.Health("ok", "ok", proof_of_home(self.state.token, challenge))

    def _status(self) -> native.Status:
        queue = native.QueueView(1, self.state.num_waiting)
        standing = "loading" if self.state.is_loading else "ready"
        return native.Status(
            version="0.1.0", pid=7, uptime_s=61.0, rss_bytes=70_000_000, home="/h",
            database="SQLite: /h/homefire.db", database_failure=None,
            disk=native.DiskView(5_000_000_000, 9_000_000_000), live="v001", queue=queue,
            resident=[native.ResidentView("v001", standing, True, 1, 8, 90_000_000, 0, 2048)],
            num_pending_examples=1, waiting_reason=None, runs=[self.state.run],
            scrub=ScrubStatus(report=None, is_running=False, failure=None),
            failures={},
            unlearned=self.state.unlearned,
        )  # fmt: skip

    def _progress(self) -> Iterator[tuple[str, Any]]:
        for item in self.state.progress:
            if item.has_ended and self.state.hold_progress is not None:
                self.state.hold_progress.wait(30)
            yield "progress", item

    def _given(self, body: Any) -> FeedbackReceipt:
        learns = body.get("verdict", "correction") == "correction"
        return FeedbackReceipt(feedback_id=FEEDBACK, example_id="e" * 64 if learns else None, is_new=learns)

    def _route(self, name: str) -> native.RouteView:
        if name not in ("default", "ember", "v001", "live"):
            raise ModelNotFound(f"There is no model {name!r}.", hint="Did you mean 'ember'?", nearest="ember")
        return native.RouteView(name, "ember", (name, "ember"), f"'{name}' → 'ember'")

    def _chat(self, body: Any) -> Any:
        state = self.state
        if state.chat_error is not None:
            raise state.chat_error
        decoded = msgspec.convert(body, native.ChatBody)
        usage = Usage(prompt_tokens=9, completion_tokens=5)
        timings = Timings(decode_ms=10.0)
        if not decoded.stream:
            return native.ChatAnswer(
                turn_id="turn_1", session_id="session_1", message_id="m2", model=decoded.model,
                served_model="ember", route_reason="'default' → 'ember'", text=state.answer,
                stop_reason=state.stop_reason, stop_string=None, usage=usage, timings=timings,
                num_trimmed_messages=state.num_trimmed_messages,
            )  # fmt: skip
        return _Stream(self._chat_events(decoded, usage, timings))

    def _chat_events(
        self, body: native.ChatBody, usage: Usage, timings: Timings
    ) -> Iterator[tuple[str, Any]]:
        state = self.state
        if state.hold_first is not None:
            state.hold_first.wait(30)
        yield "started", {
            "turn_id": "turn_1", "session_id": body.session_id or "session_1", "model": body.model,
            "served_model": "ember", "route_reason": "'default' → 'ember'", "num_trimmed_messages": 0,
        }  # fmt: skip
        for number, word in enumerate(state.answer.split(" ")):
            yield "delta", {"text": word if number == 0 else " " + word}
            state.first_delta_sent.set()
            if state.hold is not None:
                while not state.hold.wait(0.02):
                    yield "delta", {"text": ""}
        if state.error_after_deltas is not None:
            error = state.error_after_deltas
            yield (
                "error",
                {"error": {"code": error.code, "message": error.message, "hint": None, "details": {}}},
            )
            return
        yield "ended", {
            "turn_id": "turn_1", "message_id": "m2", "text": state.answer, "stop_reason": state.stop_reason,
            "stop_string": None, "usage": usage, "timings": timings,
            "num_trimmed_messages": state.num_trimmed_messages,
        }  # fmt: skip

    def _stream(self, events: Iterator[tuple[str, Any]]) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        self.close_connection = True
        try:
            for name, data in events:
                encoded = b"event: " + name.encode() + b"\ndata: " + msgspec.json.encode(data) + b"\n\n"
                self.wfile.write(encoded)
                self.wfile.flush()
        except (BrokenPipeError, ConnectionResetError):
            self.state.disconnects += 1

    def _error(self, status: int, error: dict[str, Any]) -> None:
        self._send(status, json.dumps({"error": error}).encode(), "application/json")

    def _send(self, status: int, body: bytes, media_type: str) -> None:
        self.send_response(status)
        self.send_header("content-type", media_type)
        self.send_header("content-length", str(len(body)))
        try:
            self.end_headers()
            self.wfile.write(body)
        except (BrokenPipeError, ConnectionResetError):
            self.state.disconnects += 1


@dataclass
class _Stream:
    events: Iterator[tuple[str, Any]]
