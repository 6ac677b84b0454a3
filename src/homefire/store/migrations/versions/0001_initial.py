"""The log, the fence, and the first projections."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    _create_log()
    _create_models()
    _create_chat()
    _create_learning()


def _create_log() -> None:
    op.create_table(
        "events",
        sa.Column("seq", sa.Integer(), primary_key=True, autoincrement=True),
        sa.Column("at_s", sa.Float(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("prev_hash", sa.LargeBinary(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "fence",
        sa.Column("epoch", sa.Integer(), nullable=False),
    )
    op.execute(
        "CREATE TRIGGER events_are_never_edited BEFORE UPDATE ON events "
        "BEGIN SELECT RAISE(ABORT, 'the event log is append-only'); END"
    )
    op.execute(
        "CREATE TRIGGER events_are_never_deleted BEFORE DELETE ON events "
        "BEGIN SELECT RAISE(ABORT, 'the event log is append-only'); END"
    )


def _create_models() -> None:
    op.create_table(
        "models",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("format", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("files_json", sa.Text(), nullable=False),
        sa.Column("architecture", sa.Text(), nullable=False),
        sa.Column("num_parameters", sa.Integer(), nullable=False),
        sa.Column("size_bytes", sa.Integer(), nullable=False),
        sa.Column("context_length", sa.Integer(), nullable=False),
        sa.Column("created_at_s", sa.Float(), nullable=False),
    )
    op.create_table(
        "aliases",
        sa.Column("alias", sa.Text(), primary_key=True),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("previous", sa.Text()),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("moved_at_s", sa.Float(), nullable=False),
        sa.Column("is_rollback", sa.Integer(), nullable=False),
    )
    op.create_table(
        "alias_moves",
        sa.Column("seq", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("alias", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("previous", sa.Text()),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("moved_at_s", sa.Float(), nullable=False),
        sa.Column("is_rollback", sa.Integer(), nullable=False),
    )
    op.create_index("alias_moves_by_alias", "alias_moves", ["alias", "seq"])
    op.create_table(
        "gates",
        sa.Column("seq", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text()),
        sa.Column("passed", sa.Integer(), nullable=False),
        sa.Column("reasons_json", sa.Text(), nullable=False),
        sa.Column("scores_json", sa.Text(), nullable=False),
        sa.Column("judged_at_s", sa.Float(), nullable=False),
    )
    op.create_index("gates_by_version", "gates", ["version", "seq"])


def _create_chat() -> None:
    op.create_table(
        "keys",
        sa.Column("key_id", sa.Text(), primary_key=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False, unique=True),
        sa.Column("created_at_s", sa.Float(), nullable=False),
        sa.Column("revoked_at_s", sa.Float()),
    )
    op.create_table(
        "sessions",
        sa.Column("session_id", sa.Text(), primary_key=True),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("principal", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("created_at_s", sa.Float(), nullable=False),
        sa.Column("updated_at_s", sa.Float(), nullable=False),
        sa.Column("tip_message_id", sa.Text()),
        sa.Column("num_turns", sa.Integer(), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
    )
    op.create_index("sessions_by_principal", "sessions", ["principal", "seq"])
    op.create_table(
        "messages",
        sa.Column("message_id", sa.Text(), primary_key=True),
        sa.Column("session_id", sa.Text(), sa.ForeignKey("sessions.session_id"), nullable=False),
        sa.Column("parent_id", sa.Text(), sa.ForeignKey("messages.message_id")),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("content_json", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("created_at_s", sa.Float(), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
    )
    op.create_index("messages_by_digest", "messages", ["digest"])
    op.create_index("messages_by_session", "messages", ["session_id", "seq"])
    op.create_table(
        "turns",
        sa.Column("turn_id", sa.Text(), primary_key=True),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("at_s", sa.Float(), nullable=False),
        sa.Column("session_id", sa.Text(), sa.ForeignKey("sessions.session_id"), nullable=False),
        sa.Column("session_key", sa.Text(), nullable=False),
        sa.Column("principal", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("parent_message_id", sa.Text(), sa.ForeignKey("messages.message_id")),
        sa.Column("user_message_id", sa.Text()),
        sa.Column("answer_message_id", sa.Text()),
        sa.Column("requested_model", sa.Text(), nullable=False),
        sa.Column("served_model", sa.Text(), nullable=False),
        sa.Column("served_digest", sa.Text(), nullable=False),
        sa.Column("route_reason", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text()),
        sa.Column("stop_reason", sa.Text()),
        sa.Column("usage_json", sa.Text()),
        sa.Column("timings_json", sa.Text()),
        sa.Column("num_trimmed_messages", sa.Integer(), nullable=False),
        sa.Column("error_code", sa.Text()),
        sa.Column("error", sa.Text()),
        sa.Column("verdict", sa.Text()),
    )
    op.create_index("turns_by_session", "turns", ["session_id", "seq"])
    op.create_index("turns_under_way", "turns", ["seq"], sqlite_where=sa.text("outcome IS NULL"))
    op.create_table(
        "feedback",
        sa.Column("feedback_id", sa.Text(), primary_key=True),
        sa.Column("turn_id", sa.Text(), sa.ForeignKey("turns.turn_id")),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("text", sa.Text()),
        sa.Column("principal", sa.Text(), nullable=False),
        sa.Column("created_at_s", sa.Float(), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
    )
    op.create_index("feedback_by_turn", "feedback", ["turn_id", "seq"])


def _create_learning() -> None:
    op.create_table(
        "examples",
        sa.Column("example_id", sa.Text(), primary_key=True),
        sa.Column("profile", sa.Text(), nullable=False),
        sa.Column("messages_json", sa.Text(), nullable=False),
        sa.Column("prompt_digest", sa.Text(), nullable=False),
        sa.Column("feedback_id", sa.Text()),
        sa.Column("turn_id", sa.Text()),
        sa.Column("principal", sa.Text(), nullable=False),
        sa.Column("created_at_s", sa.Float(), nullable=False),
        sa.Column("superseded_by", sa.Text()),
        sa.Column("withdrawn_at_s", sa.Float()),
        sa.Column("withdrawn_why", sa.Text()),
        sa.Column("seq", sa.Integer(), nullable=False),
    )
    op.create_index("examples_by_principal", "examples", ["principal", "seq"])
    op.create_index("examples_by_prompt", "examples", ["prompt_digest"])
    op.create_index("examples_by_seq", "examples", ["seq"])
    op.create_table(
        "datasets",
        sa.Column("dataset_id", sa.Text(), primary_key=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at_s", sa.Float(), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
    )
    op.create_table(
        "dataset_examples",
        sa.Column("dataset_id", sa.Text(), sa.ForeignKey("datasets.dataset_id"), primary_key=True),
        sa.Column("position", sa.Integer(), primary_key=True),
        sa.Column("example_id", sa.Text(), sa.ForeignKey("examples.example_id"), nullable=False),
    )
    op.create_index("dataset_examples_by_example", "dataset_examples", ["example_id"])
    op.create_table(
        "runs",
        sa.Column("run_id", sa.Text(), primary_key=True),
        sa.Column("dataset_id", sa.Text(), sa.ForeignKey("datasets.dataset_id"), nullable=False),
        sa.Column("base", sa.Text(), nullable=False),
        sa.Column("parent", sa.Text(), nullable=False),
        sa.Column("recipe_json", sa.Text(), nullable=False),
        sa.Column("priority", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("queued_at_s", sa.Float(), nullable=False),
        sa.Column("started_at_s", sa.Float()),
        sa.Column("ended_at_s", sa.Float()),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("metrics_json", sa.Text(), nullable=False),
        sa.Column("unteaches_json", sa.Text(), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
    )
    op.create_index("runs_by_dataset", "runs", ["dataset_id", "seq"])
    op.create_index("runs_by_state", "runs", ["state", "seq"])
    op.create_table(
        "versions",
        sa.Column("version", sa.Text(), primary_key=True),
        sa.Column("run_id", sa.Text(), sa.ForeignKey("runs.run_id")),
        sa.Column("base", sa.Text(), nullable=False),
        sa.Column("parent", sa.Text(), nullable=False),
        sa.Column("manifest_sha256", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.Integer(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("created_at_s", sa.Float(), nullable=False),
        sa.Column("removed_at_s", sa.Float()),
        sa.Column("seq", sa.Integer(), nullable=False),
    )
    op.create_index("versions_by_run", "versions", ["run_id"])
    op.create_index("versions_by_seq", "versions", ["seq"])
