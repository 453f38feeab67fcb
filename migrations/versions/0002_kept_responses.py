"""Responses that clients want kept, and the items of their answers.

Roll back by dropping both: what was kept is forgotten, no account changes.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "kept_responses",
        sa.Column("organisation_id", sa.String(64), primary_key=True),
        sa.Column("team_id", sa.String(64), primary_key=True),
        sa.Column("response_id", sa.String(200), primary_key=True),
        sa.Column("previous_id", sa.String(200)),
        sa.Column("request_id", sa.String(64), nullable=False),
        sa.Column("key_id", sa.String(64), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("expires_at", sa.Float(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
    )
    op.create_index("ix_kept_responses_expires_at", "kept_responses", ["expires_at"])
    op.create_table(
        "kept_items",
        sa.Column("organisation_id", sa.String(64), primary_key=True),
        sa.Column("team_id", sa.String(64), primary_key=True),
        sa.Column("item_id", sa.String(200), primary_key=True),
        sa.Column("response_id", sa.String(200), nullable=False),
        sa.ForeignKeyConstraint(
            ["organisation_id", "team_id", "response_id"],
            [
                "kept_responses.organisation_id",
                "kept_responses.team_id",
                "kept_responses.response_id",
            ],
            ondelete="CASCADE",
        ),
    )
    op.create_index(
        "kept_items_by_response", "kept_items", ["organisation_id", "team_id", "response_id"]
    )


def downgrade() -> None:
    """Drop the tables, with everything that was kept."""
    op.drop_table("kept_items")
    op.drop_table("kept_responses")
