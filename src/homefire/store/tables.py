"""The tables: one log of truth (`events`), the fence, and projections that can be rebuilt from the log.

Text columns named `*_json` hold JSON; times are seconds since the Unix epoch. The migrations hold their own
copies of these definitions (a migration never changes); a test compares the two.
"""

from __future__ import annotations

from sqlalchemy import Column, Float, ForeignKey, Index, Integer, LargeBinary, MetaData, Table, Text, text

metadata = MetaData()

events = Table(
    "events",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("at_s", Float, nullable=False),
    Column("kind", Text, nullable=False),
    Column("payload", Text, nullable=False),
    Column("prev_hash", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    sqlite_autoincrement=True,
)

fence = Table("fence", metadata, Column("epoch", Integer, nullable=False))

keys = Table(
    "keys",
    metadata,
    Column("key_id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("sha256", Text, nullable=False, unique=True),
    Column("created_at_s", Float, nullable=False),
    Column("revoked_at_s", Float),
)

models = Table(
    "models",
    metadata,
    Column("name", Text, primary_key=True),
    Column("format", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("files_json", Text, nullable=False),
    Column("architecture", Text, nullable=False),
    Column("num_parameters", Integer, nullable=False),
    Column("size_bytes", Integer, nullable=False),
    Column("context_length", Integer, nullable=False),
    Column("created_at_s", Float, nullable=False),
)

aliases = Table(
    "aliases",
    metadata,
    Column("alias", Text, primary_key=True),
    Column("target", Text, nullable=False),
    Column("previous", Text),
    Column("who", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("seq", Integer, nullable=False),
    Column("moved_at_s", Float, nullable=False),
    Column("is_rollback", Integer, nullable=False),
)

alias_moves = Table(
    "alias_moves",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("alias", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("previous", Text),
    Column("who", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("moved_at_s", Float, nullable=False),
    Column("is_rollback", Integer, nullable=False),
    Index("alias_moves_by_alias", "alias", "seq"),
)

sessions = Table(
    "sessions",
    metadata,
    Column("session_id", Text, primary_key=True),
    Column("key", Text, nullable=False),
    Column("principal", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("created_at_s", Float, nullable=False),
    Column("updated_at_s", Float, nullable=False),
    Column("tip_message_id", Text),
    Column("num_turns", Integer, nullable=False),
    Column("seq", Integer, nullable=False),
    Index("sessions_by_principal", "principal", "seq"),
)

messages = Table(
    "messages",
    metadata,
    Column("message_id", Text, primary_key=True),
    Column("session_id", Text, ForeignKey("sessions.session_id"), nullable=False),
    Column("parent_id", Text, ForeignKey("messages.message_id")),
    Column("role", Text, nullable=False),
    Column("content_json", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("created_at_s", Float, nullable=False),
    Column("seq", Integer, nullable=False),
    Index("messages_by_session", "session_id", "seq"),
    Index("messages_by_digest", "digest"),
)

turns = Table(
    "turns",
    metadata,
    Column("turn_id", Text, primary_key=True),
    Column("seq", Integer, nullable=False),
    Column("at_s", Float, nullable=False),
    Column("session_id", Text, ForeignKey("sessions.session_id"), nullable=False),
    Column("session_key", Text, nullable=False),
    Column("principal", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("parent_message_id", Text, ForeignKey("messages.message_id")),
    Column("user_message_id", Text),
    Column("answer_message_id", Text),
    Column("requested_model", Text, nullable=False),
    Column("served_model", Text, nullable=False),
    Column("served_digest", Text, nullable=False),
    Column("route_reason", Text, nullable=False),
    Column("outcome", Text),
    Column("stop_reason", Text),
    Column("usage_json", Text),
    Column("timings_json", Text),
    Column("num_trimmed_messages", Integer, nullable=False),
    Column("error_code", Text),
    Column("error", Text),
    Column("verdict", Text),
    Index("turns_by_session", "session_id", "seq"),
    Index("turns_under_way", "seq", sqlite_where=text("outcome IS NULL")),
)

feedback = Table(
    "feedback",
    metadata,
    Column("feedback_id", Text, primary_key=True),
    Column("turn_id", Text, ForeignKey("turns.turn_id")),
    Column("verdict", Text, nullable=False),
    Column("text", Text),
    Column("principal", Text, nullable=False),
    Column("created_at_s", Float, nullable=False),
    Column("seq", Integer, nullable=False),
    Index("feedback_by_turn", "turn_id", "seq"),
)

examples = Table(
    "examples",
    metadata,
    Column("example_id", Text, primary_key=True),
    Column("profile", Text, nullable=False),
    Column("messages_json", Text, nullable=False),
    Column("prompt_digest", Text, nullable=False),
    Column("feedback_id", Text),
    Column("turn_id", Text),
    Column("principal", Text, nullable=False),
    Column("created_at_s", Float, nullable=False),
    Column("superseded_by", Text),
    Column("withdrawn_at_s", Float),
    Column("withdrawn_why", Text),
    Column("seq", Integer, nullable=False),
    Index("examples_by_principal", "principal", "seq"),
    Index("examples_by_prompt", "prompt_digest"),
    Index("examples_by_seq", "seq"),
)

datasets = Table(
    "datasets",
    metadata,
    Column("dataset_id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("created_at_s", Float, nullable=False),
    Column("seq", Integer, nullable=False),
)

dataset_examples = Table(
    "dataset_examples",
    metadata,
    Column("dataset_id", Text, ForeignKey("datasets.dataset_id"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("example_id", Text, ForeignKey("examples.example_id"), nullable=False),
    Index("dataset_examples_by_example", "example_id"),
)

runs = Table(
    "runs",
    metadata,
    Column("run_id", Text, primary_key=True),
    Column("dataset_id", Text, ForeignKey("datasets.dataset_id"), nullable=False),
    Column("base", Text, nullable=False),
    Column("parent", Text, nullable=False),
    Column("recipe_json", Text, nullable=False),
    Column("priority", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("queued_at_s", Float, nullable=False),
    Column("started_at_s", Float),
    Column("ended_at_s", Float),
    Column("who", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("metrics_json", Text, nullable=False),
    Column("unteaches_json", Text, nullable=False),
    Column("seq", Integer, nullable=False),
    Index("runs_by_dataset", "dataset_id", "seq"),
    Index("runs_by_state", "state", "seq"),
)

versions = Table(
    "versions",
    metadata,
    Column("version", Text, primary_key=True),
    Column("run_id", Text, ForeignKey("runs.run_id")),
    Column("base", Text, nullable=False),
    Column("parent", Text, nullable=False),
    Column("manifest_sha256", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("size_bytes", Integer, nullable=False),
    Column("description", Text, nullable=False),
    Column("created_at_s", Float, nullable=False),
    Column("removed_at_s", Float),
    Column("seq", Integer, nullable=False),
    Index("versions_by_run", "run_id"),
    Index("versions_by_seq", "seq"),
)

gates = Table(
    "gates",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("version", Text, nullable=False),
    Column("run_id", Text),
    Column("passed", Integer, nullable=False),
    Column("reasons_json", Text, nullable=False),
    Column("scores_json", Text, nullable=False),
    Column("judged_at_s", Float, nullable=False),
    Index("gates_by_version", "version", "seq"),
)

PROJECTIONS: tuple[Table, ...] = (
    keys, models, aliases, alias_moves, sessions, messages, turns, feedback, examples, datasets,
    dataset_examples, runs, versions, gates,
)  # fmt: skip
"""Parents before children: rows go in in this order and out in the reverse one."""

APPEND_ONLY_TRIGGERS: tuple[str, ...] = (
    "CREATE TRIGGER events_are_never_edited BEFORE UPDATE ON events "
    "BEGIN SELECT RAISE(ABORT, 'the event log is append-only'); END",
    "CREATE TRIGGER events_are_never_deleted BEFORE DELETE ON events "
    "BEGIN SELECT RAISE(ABORT, 'the event log is append-only'); END",
)
