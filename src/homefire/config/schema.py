"""The settings: every key, its type, its default and what it does. Unknown keys are refused.

The one description of a key is the one here: the published JSON Schema, the reference page and
`homefire config show` are made from it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo

MIB = 1 << 20

PositiveInt = Annotated[int, Field(ge=1)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, protected_namespaces=())


class ServerSettings(_Section):
    """The one port where everything is served."""

    host: str = Field(
        default="127.0.0.1",
        description="Address to listen on. Any other address than loopback needs an API key.",
    )
    port: int = Field(default=8765, ge=0, le=65535, description="Port to listen on; 0 takes any free one.")
    max_body_bytes: PositiveInt = Field(default=8 * MIB, description="Largest request body that is read.")
    allowed_hosts: tuple[str, ...] = Field(
        default=(), description="Host headers to accept beside loopback names (your reverse proxy's name)."
    )
    allowed_origins: tuple[str, ...] = Field(
        default=(), description="Web origins beside our own that may call the API (`https://chat.example`)."
    )
    loopback_without_key: bool = Field(
        default=True, description="Whether callers on this machine may do without a key."
    )
    drain_timeout_s: PositiveFloat = Field(
        default=10.0, description="How long running answers may finish at shutdown."
    )
    request_timeout_s: PositiveFloat = Field(default=300.0, description="Longest time one request may take.")


class ChatSettings(_Section):
    """What a turn does where the client says nothing."""

    default_model: str = Field(
        default="default", min_length=1, description="Model or alias for requests that name none."
    )
    overflow: Literal["trim", "refuse"] = Field(
        default="trim",
        description="What to do with a conversation that does not fit: leave out its oldest messages and "
        "say so, or refuse it with the numbers.",
    )
    max_tokens: PositiveInt = Field(
        default=512, description="Room kept for the answer when the client names none."
    )
    temperature: Annotated[float, Field(ge=0, le=2)] | None = Field(
        default=None, description="Sampling temperature when the client names none; unset: the model's own."
    )
    system_prompt: str | None = Field(
        default=None, description="System prompt for conversations that bring none."
    )


class ServingSettings(_Section):
    """How models are held and run."""

    engine: str = Field(default="llama.cpp", description="What runs models: a name that a plugin brings.")
    num_threads: PositiveInt = Field(default=1, description="CPU threads of one engine worker.")
    num_parallel: PositiveInt = Field(default=4, description="Requests one engine worker decodes together.")
    memory_budget_bytes: PositiveInt | None = Field(
        default=None,
        description="Memory that loaded models may take together; unset: nine tenths of what is free at the start.",
    )
    max_models: PositiveInt = Field(
        default=8,
        description="Most models loaded at the same time, however small: each is a process of its own.",
    )
    context_length: Annotated[int, Field(ge=64)] | None = Field(
        default=None, description="Tokens one request may fill; unset: the model's own, at most 8192."
    )
    load_timeout_s: PositiveFloat = Field(default=120.0, description="Longest time loading a model may take.")
    stall_timeout_s: PositiveFloat = Field(
        default=60.0, description="An engine worker without a sign of life for this long is started again."
    )
    max_queue: PositiveInt = Field(
        default=256, description="Requests that may wait; more are refused with 429."
    )
    gguf_dtype: Literal["f32", "f16", "bf16", "q8_0"] = Field(
        default="f16", description="Number format of the GGUF files made from safetensors models."
    )


class TrainingSettings(_Section):
    """How corrections are learned. Unset numbers are the recipe's own, by the size of the model."""

    auto: bool = Field(default=True, description="Whether corrections are trained on their own.")
    quiet_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = Field(
        default=None,
        description="Wait this long after the last correction before a run is queued; unset: a single one starts at "
        "once, a series waits for its end, 2 seconds at most.",
    )
    mode: Literal["auto", "full", "lora"] = Field(
        default="auto", description="Train all weights or an adapter; auto decides by the size of the model."
    )
    device: Literal["auto", "cuda", "mps", "cpu"] = Field(
        default="auto", description="Where a run computes; auto: a GPU where PyTorch finds one, else the CPU."
    )
    activation_checkpointing: Literal["auto", "on", "off"] = Field(
        default="auto",
        description="Compute inner values again instead of holding them: less memory, slower. Auto: when needed.",
    )
    base_precision: Literal["stored", "int8", "nf4"] = Field(
        default="stored",
        description="How the weights below an adapter are held; int8 and nf4 need bitsandbytes and a GPU.",
    )
    max_steps: PositiveInt | None = Field(default=None, description="Most optimizer steps of a run.")
    learning_rate: PositiveFloat | None = Field(default=None, description="Peak learning rate.")
    replay_ratio: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = Field(
        default=None, description="Rows of old skills mixed in for each new one."
    )
    checkpoint_every_steps: PositiveInt = Field(default=20, description="Steps between two checkpoints.")
    keep_checkpoints: PositiveInt = Field(default=2, description="Checkpoints of a run that are kept.")
    num_threads: PositiveInt = Field(
        default=1,
        description="CPU threads of the trainer. Part of the recipe: another number gives other last bits.",
    )
    nice: Annotated[int, Field(ge=0, le=19)] = Field(
        default=19, description="How far the trainer steps back for others."
    )
    warm_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(
        default=600.0,
        description="How long after a chat or a correction a trainer with its libraries loaded is kept ready "
        "(about 350 MB), so that the next correction is learned at once; 0: none is.",
    )
    seed: Annotated[int, Field(ge=0)] = Field(
        default=0, description="Seed of the order of rows and of dropout."
    )
    heartbeat_timeout_s: PositiveFloat = Field(
        default=120.0,
        description="A trainer without a sign of life for this long is ended and its run resumed.",
    )
    max_attempts: PositiveInt = Field(default=5, description="Starts of one run before it counts as failed.")


class GateSettings(_Section):
    """What a new version must show before it may go live."""

    min_generality: Share = Field(
        default=0.6, description="Share of corrected questions, asked in other words, that must be right."
    )
    min_locality: Share = Field(
        default=0.9,
        description="Share of similar questions, never corrected, that must be answered as before.",
    )
    min_protected_ratio: Share = Field(
        default=0.96, description="Least score on protected prompts, as a share of what it was before."
    )
    max_eval_tokens: PositiveInt = Field(
        default=128,
        description="Longest answer the gate lets a version give (a correction that is longer may be).",
    )
    auto_promote: bool = Field(
        default=True, description="Whether a version that passed goes live on its own."
    )
    max_tries: PositiveInt = Field(
        default=2,
        description="Times a correction that cannot be learned is trained, at a lower rate the second time, "
        "before its refusal is final.",
    )


class StoreSettings(_Section):
    """The database."""

    url: str | None = Field(
        default=None,
        description="A PostgreSQL database (`postgresql://user@host/database`) to keep the log and the tables "
        "in; unset: SQLite in the home. Its password is a secret and is not kept here "
        "(`HOMEFIRE_DATABASE_PASSWORD`, `credentials/database_password`).",
    )
    busy_timeout_ms: Annotated[int, Field(ge=0)] = Field(
        default=5000,
        description="How long to wait for another program that holds the database, or for a database server "
        "that does not answer.",
    )
    read_timeout_ms: PositiveInt = Field(
        default=2000, description="Longest time one read may wait for the PostgreSQL server."
    )
    group_commit_max: PositiveInt = Field(default=256, description="Most appends that share one flush.")
    reserve_bytes: Annotated[int, Field(ge=0)] = Field(
        default=16 * MIB,
        description="Free space below which recording pauses, so that cleaning up still works.",
    )
    scrub_interval_h: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(
        default=168.0,
        description="Hours between two readings of all models, versions and blobs from the disk; 0: never.",
    )
    scrub_mb_per_s: PositiveFloat = Field(
        default=20.0, description="Megabytes that such a reading takes from the disk in a second."
    )


class LoggingSettings(_Section):
    """What is written to the log."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least level that is written."
    )
    format: Literal["text", "json"] = Field(default="text", description="Lines for people or for programs.")


class Settings(_Section):
    """All settings of one Homefire."""

    server: ServerSettings = ServerSettings()
    chat: ChatSettings = ChatSettings()
    serving: ServingSettings = ServingSettings()
    training: TrainingSettings = TrainingSettings()
    gate: GateSettings = GateSettings()
    store: StoreSettings = StoreSettings()
    logging: LoggingSettings = LoggingSettings()


@dataclass(frozen=True, slots=True)
class Key:
    """One setting: `server.port`, its environment variable, its default and what it does."""

    section: str
    name: str
    field: FieldInfo

    @property
    def dotted(self) -> str:
        return f"{self.section}.{self.name}"

    @property
    def variable(self) -> str:
        return f"HOMEFIRE_{self.section.upper()}__{self.name.upper()}"

    @property
    def validator(self) -> Any:
        """The type with its bounds, for a pydantic TypeAdapter."""
        return Annotated[self.field.annotation, Field(), *self.field.metadata]

    @property
    def default(self) -> Any:
        return self.field.default

    @property
    def description(self) -> str:
        return self.field.description or ""


def iter_keys() -> Iterator[Key]:
    """Every setting, in the order of the schema."""
    for section, section_field in Settings.model_fields.items():
        section_type = section_field.annotation
        assert isinstance(section_type, type)
        assert issubclass(section_type, BaseModel)
        for name, field in section_type.model_fields.items():
            yield Key(section, name, field)
