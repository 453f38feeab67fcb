"""Proofs of policies apart from their versions: by document, catalogue and verifier.

Certificates of before are dropped: they are of an earlier verifier, and each gateway proves again what it runs.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table; a process says which of its policies are not proved there."""
    op.create_table(
        "policy_proofs",
        sa.Column("policy", sa.String(300), primary_key=True),
        sa.Column("catalogue", sa.String(64), primary_key=True),
        sa.Column("verifier", sa.String(64), primary_key=True),
        sa.Column("certificate", sa.Text(), nullable=False),
        sa.Column("proved_at", sa.Float(), nullable=False),
    )
    op.drop_column("policies", "certificate")
    op.add_column(
        "processes", sa.Column("unproven", sa.Text(), nullable=False, server_default="[]")
    )


def downgrade() -> None:
    """Forget the proofs."""
    op.drop_column("processes", "unproven")
    op.add_column("policies", sa.Column("certificate", sa.Text()))
    op.drop_table("policy_proofs")
