"""The first schema: who may ask, what was asked, what it cost, which policy was in force.

Roll back by dropping the tables: nothing came before them.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "attempts",
        sa.Column("attempt_id", sa.String(80), primary_key=True),
        sa.Column("request_id", sa.String(64), nullable=False),
        sa.Column("organisation_id", sa.String(64), nullable=False),
        sa.Column("team_id", sa.String(64), nullable=False),
        sa.Column("key_id", sa.String(64), nullable=False),
        sa.Column("day", sa.String(10), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("target", sa.String(200), nullable=False),
        sa.Column("provider", sa.String(64), nullable=False),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("response_model", sa.String(200)),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("usage_source", sa.String(16), nullable=False),
        sa.Column("input_tokens", sa.BigInteger(), nullable=False),
        sa.Column("output_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cache_read_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cache_write_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cache_write_1h_tokens", sa.BigInteger(), nullable=False),
        sa.Column("reasoning_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cost_nanousd", sa.BigInteger(), nullable=False),
        sa.Column("reserved_nanousd", sa.BigInteger(), nullable=False),
        sa.Column("finish_reason", sa.String(32)),
        sa.Column("raw_finish_reason", sa.String(64)),
        sa.Column("failure", sa.String(64)),
        sa.Column("upstream_status", sa.Integer()),
        sa.Column("started_at", sa.Float(), nullable=False),
        sa.Column("ended_at", sa.Float()),
        sa.Column("dropped", sa.Text(), nullable=False),
    )
    op.create_index("attempts_by_day", "attempts", ["organisation_id", "day"])
    op.create_index("attempts_by_key", "attempts", ["key_id", "day"])
    op.create_index("ix_attempts_request_id", "attempts", ["request_id"])
    op.create_table(
        "organisations",
        sa.Column("organisation_id", sa.String(64), primary_key=True),
        sa.Column("name", sa.String(200), nullable=False, unique=True),
        sa.Column("residency", sa.String(32), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
    )
    op.create_table(
        "policies",
        sa.Column("version", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("applied_by", sa.String(200), nullable=False),
        sa.Column("applied_at", sa.Float(), nullable=False),
    )
    op.create_table(
        "requests",
        sa.Column("request_id", sa.String(64), primary_key=True),
        sa.Column("organisation_id", sa.String(64), nullable=False),
        sa.Column("team_id", sa.String(64), nullable=False),
        sa.Column("key_id", sa.String(64), nullable=False),
        sa.Column("day", sa.String(10), nullable=False),
        sa.Column("received_at", sa.Float(), nullable=False),
        sa.Column("format", sa.String(32), nullable=False),
        sa.Column("request_model", sa.String(200), nullable=False),
        sa.Column("data_class", sa.String(32), nullable=False),
        sa.Column("labels", sa.Text(), nullable=False),
        sa.Column("policy", sa.String(200), nullable=False),
        sa.Column("decision", sa.Text(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("error", sa.String(64)),
        sa.Column("target", sa.String(200)),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("cache", sa.String(8), nullable=False),
        sa.Column("is_stream", sa.Boolean(), nullable=False),
        sa.Column("duration_seconds", sa.Float(), nullable=False),
        sa.Column("first_chunk_seconds", sa.Float()),
        sa.Column("cost_nanousd", sa.BigInteger(), nullable=False),
        sa.Column("dropped", sa.Text(), nullable=False),
    )
    op.create_index("requests_by_day", "requests", ["organisation_id", "day"])
    op.create_table(
        "teams",
        sa.Column("team_id", sa.String(64), primary_key=True),
        sa.Column(
            "organisation_id",
            sa.String(64),
            sa.ForeignKey("organisations.organisation_id"),
            nullable=False,
        ),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
    )
    op.create_index("teams_by_name", "teams", ["organisation_id", "name"], unique=True)
    op.create_table(
        "keys",
        sa.Column("key_id", sa.String(64), primary_key=True),
        sa.Column("team_id", sa.String(64), sa.ForeignKey("teams.team_id"), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("digest", sa.LargeBinary(32), nullable=False, unique=True),
        sa.Column("shown", sa.String(16), nullable=False),
        sa.Column("roles", sa.String(200), nullable=False),
        sa.Column("data_class", sa.String(32), nullable=False),
        sa.Column("budget_nanousd", sa.BigInteger()),
        sa.Column("budget_period", sa.String(16)),
        sa.Column("requests_per_minute", sa.Integer()),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("revoked_at", sa.Float()),
    )


def downgrade() -> None:
    """Drop the tables, with everything in them."""
    op.drop_table("keys")
    op.drop_table("teams")
    op.drop_table("requests")
    op.drop_table("policies")
    op.drop_table("organisations")
    op.drop_table("attempts")
