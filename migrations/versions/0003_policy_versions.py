"""Versions of policies apart from their activations; what each process runs.

Every entry of the old history becomes a version and, at its time, an activation. Roll back by the downgrade,
after which the newest version counts for everybody: apply what should be in force first.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Rename and add columns, make the tables, and take over the history."""
    op.execute("ALTER TABLE policies RENAME COLUMN applied_by TO author")
    op.execute("ALTER TABLE policies RENAME COLUMN applied_at TO created_at")
    op.add_column("policies", sa.Column("scope", sa.String(200), nullable=False, server_default=""))
    op.add_column("policies", sa.Column("reason", sa.Text(), nullable=False, server_default=""))
    op.add_column("policies", sa.Column("diff", sa.Text(), nullable=False, server_default=""))
    op.add_column("policies", sa.Column("certificate", sa.Text()))
    op.create_index("policies_by_digest", "policies", ["scope", "digest"])
    op.create_table(
        "policy_activations",
        sa.Column("activation_id", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("scope", sa.String(200), nullable=False),
        sa.Column("version", sa.Integer(), sa.ForeignKey("policies.version"), nullable=False),
        sa.Column("activated_by", sa.String(200), nullable=False),
        sa.Column("activated_at", sa.Float(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("starts_at", sa.Float(), nullable=False),
        sa.Column("canary_share", sa.Float()),
        sa.Column("override", sa.Text()),
    )
    op.create_table(
        "processes",
        sa.Column("process_id", sa.String(64), primary_key=True),
        sa.Column("host", sa.String(200), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.Float(), nullable=False),
        sa.Column("seen_at", sa.Float(), nullable=False),
        sa.Column("policy", sa.String(200), nullable=False),
        sa.Column("versions", sa.Text(), nullable=False),
        sa.Column("catalogue", sa.String(200), nullable=False),
    )
    # The newest version was in force whatever the clock said when it was applied: none may start before it.
    op.execute(
        "INSERT INTO policy_activations (activation_id, scope, version, activated_by, activated_at, reason, "
        "starts_at) SELECT p.version, '', p.version, p.author, p.created_at, '', "
        "(SELECT MAX(b.created_at) FROM policies b WHERE b.version <= p.version) FROM policies p"
    )


def downgrade() -> None:
    """Forget activations and processes; the newest version is in force."""
    op.drop_table("processes")
    op.drop_table("policy_activations")
    op.drop_index("policies_by_digest", "policies")
    for name in ("certificate", "diff", "reason", "scope"):
        op.drop_column("policies", name)
    op.execute("ALTER TABLE policies RENAME COLUMN created_at TO applied_at")
    op.execute("ALTER TABLE policies RENAME COLUMN author TO applied_by")
