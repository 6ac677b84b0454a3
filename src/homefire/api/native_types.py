"""What the native API takes and gives, as structs. Rows of the store are given as they are."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import UNSET, Struct, UnsetType

from homefire.api.translation import (
    NumLogprobs,
    Positive,
    Probability,
    RepetitionPenalty,
    Seed,
    StopStrings,
    Temperature,
    TopK,
)
from homefire.catalog.scrub import ScrubStatus
from homefire.chat.request import Ended, Overflow
from homefire.machine.probe import Machine
from homefire.serving.effects import WaitingRequest
from homefire.store.nouns.conversation_rows import MessageRow, SessionRow, TurnRow
from homefire.store.nouns.conversations import Verdict
from homefire.store.nouns.runs import RunRow
from homefire.store.nouns.versions import VersionRow
from homefire.training.correction_states import CorrectionView
from homefire.training.fitness import Fitness
from homefire.training.progress import Progress
from homefire.types import Message
from homefire.versions.report import GateReport


class StrictMessage(Message, frozen=True, gc=False, forbid_unknown_fields=True):
    """A message with nothing else in it."""


class ChatBody(Struct, frozen=True, forbid_unknown_fields=True):
    """`POST /v1/chat`: one message of a conversation (`message`), a whole one (`messages`), or again."""

    message: str | None = None
    messages: list[StrictMessage] | None = None
    system: str | None = None
    """Put before `message`; for the first message of a conversation."""
    replaces_turn_id: str | None = None
    """Regenerate: answer again what this turn answered."""
    session_id: str | None = None
    model: str | None = None
    """None: the setting `chat.default_model`."""
    stream: bool | None = None
    channel: Literal["native", "web", "cli"] | None = None
    overflow: Overflow | None = None
    max_tokens: Positive | None = None
    temperature: Temperature | None = None
    top_p: Probability | None = None
    top_k: TopK | None = None
    min_p: Probability | None = None
    repetition_penalty: RepetitionPenalty | None = None
    seed: Seed | None = None
    stop: StopStrings | None = None
    json_schema: dict[str, Any] | None = None
    grammar: str | None = None
    num_logprobs: NumLogprobs | None = None


class ChatAnswer(Ended, frozen=True, kw_only=True):
    """A whole answer: what ended it, and what it began with."""

    session_id: str
    model: str
    served_model: str
    route_reason: str


class FeedbackBody(Struct, frozen=True, forbid_unknown_fields=True):
    """`POST /v1/feedback`: a judgement of an answer; `text` is what it should have been."""

    turn_id: str
    verdict: Verdict
    text: str | None = None


class CorrectionBody(Struct, frozen=True, forbid_unknown_fields=True):
    """`POST /v1/corrections`: what the answer to a prompt (or a conversation) should be."""

    answer: str
    prompt: str | None = None
    messages: list[Message] | None = None


class EditCorrectionBody(Struct, frozen=True, forbid_unknown_fields=True):
    """`PATCH /v1/corrections/{example_id}`: what the correction should say instead; null leaves it as it is."""

    answer: str | None = None
    question: str | None = None


class StartRunBody(Struct, frozen=True, forbid_unknown_fields=True):
    """`POST /v1/runs`: train now, with these examples or all that wait."""

    example_ids: list[str] | None = None


class ErasureBody(Struct, frozen=True, forbid_unknown_fields=True):
    """What is erased is named by the address. With `dry_run` it is only told what would go and what would stay."""

    why: str = ""
    dry_run: bool = False


class ReasonBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Why a person moves something; it is recorded."""

    why: str = ""


class PromoteBody(Struct, frozen=True, forbid_unknown_fields=True):
    """`override` promotes what the gate refused; it needs a reason."""

    why: str = ""
    override: bool = False


class RollbackBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Back to what was live before, or to `to`."""

    to: str | None = None
    why: str = ""


class AddModelBody(Struct, frozen=True, forbid_unknown_fields=True):
    """A GGUF file or a safetensors folder on this machine."""

    path: str
    name: str | None = None
    in_place: bool = False


class RunView(RunRow, frozen=True, kw_only=True):
    """A run and its progress now."""

    progress: Progress
    promoted: bool
    gate_passed: bool | None
    gate_reasons: tuple[str, ...]
    gate_report: GateReport | None
    """The gate's verdict for people; None before there is a version."""
    corrections: tuple[CorrectionView, ...] = ()
    """What it learns of the caller's corrections, where one run is shown."""


class Runs(Struct, frozen=True):
    """Newest first."""

    runs: list[RunView]


class Queue(Struct, frozen=True):
    """What will be trained: runs that are not over, and corrections that no run has taken up.

    `unlearned` are the caller's corrections that were refused, disputed or stranded, each with why and what happens
    next. `disagreements`, for the owner of the home, are questions to which several people gave different answers.
    """

    runs: list[RunView]
    num_pending_examples: int
    waiting_reason: str | None
    unlearned: tuple[CorrectionView, ...] = ()
    disagreements: tuple[tuple[CorrectionView, ...], ...] = ()


class CorrectionsPage(Struct, frozen=True):
    """The caller's corrections, the newest first; `next_before` asks for the ones before them."""

    corrections: list[CorrectionView]
    next_before: int | None


class VersionView(VersionRow, frozen=True, kw_only=True):
    """A version, whether it is live, its readable folder, and the gate's verdict for people."""

    live: bool
    folder: str | None
    gate_report: GateReport


class Versions(Struct, frozen=True):
    """Oldest first; `rollback_to` is what a rollback would make live."""

    versions: list[VersionView]
    live: str
    rollback_to: str | None


class Moved(Struct, frozen=True):
    """What `live` means now, and meant before."""

    live: str
    previous: str | None


class Report(Struct, frozen=True):
    """What hashing every byte found."""

    ok: bool
    problems: list[str]
    num_files: int
    size_bytes: int


class Removed(Struct, frozen=True):
    """The name is free again."""

    removed: str


class ModelView(Struct, frozen=True, kw_only=True):
    """A model that a request can name."""

    name: str
    kind: str
    target: str | None
    format: str
    folder: str
    digest: str
    base: str | None
    parent: str | None
    architecture: str
    num_parameters: int
    size_bytes: int
    context_length: int
    trainable: bool
    why_not_trainable: str | None
    teaching_needs: str | None = None
    """What teaching it would take on this machine; only where one model is asked for."""
    created_at_s: float


class AddedModel(ModelView, frozen=True, kw_only=True):
    """A model that was added, and what was found when it was asked a few questions."""

    fitness: Fitness


class Models(Struct, frozen=True):
    """Bases, versions and aliases."""

    models: list[ModelView]


class Sessions(Struct, frozen=True):
    """The caller's conversations, the latest first."""

    sessions: list[SessionRow]


class SessionView(Struct, frozen=True):
    """One conversation: its newest branch, and all its turns."""

    session: SessionRow
    messages: list[MessageRow]
    turns: list[TurnRow]


class RouteView(Struct, frozen=True):
    """Which model would answer, and why."""

    requested: str
    served_model: str
    chain: tuple[str, ...]
    reason: str


class Health(Struct, frozen=True):
    """Liveness. `store` says why where nothing can be written; `proof` answers a `challenge`."""

    state: Literal["ok", "degraded"]
    store: str
    proof: str | UnsetType = UNSET
    failed: list[str] | UnsetType = UNSET
    """The parts that do not work now; why is in the status and in the log."""


class Info(Struct, frozen=True):
    """What this server is, speaks, and runs on."""

    name: str
    version: str
    python: str
    live: str
    dialects: list[str]
    num_models: int
    started_at_s: float
    machine: Machine


class VersionInfo(Struct, frozen=True):
    """The program's own version."""

    version: str


class DiskView(Struct, frozen=True):
    """Where the home is."""

    free_bytes: int
    total_bytes: int


class QueueView(Struct, frozen=True):
    """Requests that use a model, and those that wait for one."""

    active: int
    waiting: int
    requests: tuple[WaitingRequest, ...] = ()
    """Those that wait, the next one first, each with what it waits for."""


class ResidentView(Struct, frozen=True):
    """A loaded model."""

    name: str
    state: str
    pinned: bool
    """It is the live model: it leaves memory last."""
    active: int
    pid: int | None
    memory_bytes: int | None
    num_restarts: int
    context_length: int | None


class Status(Struct, frozen=True, kw_only=True):
    """Everything `homefire status` shows."""

    version: str
    pid: int
    uptime_s: float
    rss_bytes: int
    home: str
    disk: DiskView
    database: str
    """Which database it is; never with a password."""
    database_failure: str | None
    """Why nothing can be recorded now; None while all is well."""
    live: str
    queue: QueueView
    scrub: ScrubStatus
    """The slow reading of all files; `report.damaged` names what is not as it was written."""
    failures: dict[str, str]
    """The parts that do not work now, by name, each with why."""
    resident: list[ResidentView]
    num_pending_examples: int
    waiting_reason: str | None
    runs: list[RunView]
    unlearned: tuple[CorrectionView, ...] = ()
    disagreements: tuple[tuple[CorrectionView, ...], ...] = ()
    """The caller's corrections that were refused or stranded, the newest first."""


class Setting(Struct, frozen=True):
    """A value and where it comes from."""

    value: Any
    origin: str


class Config(Struct, frozen=True):
    """Every setting; secrets are none."""

    home: str
    file: str
    settings: dict[str, Setting]
