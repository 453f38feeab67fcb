"""The tables, for SQLite and PostgreSQL. Amounts are BIGINT nano-dollars; days are UTC dates as text."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

metadata = MetaData()

organisations = Table(
    "organisations",
    metadata,
    Column("organisation_id", String(64), primary_key=True),
    Column("name", String(200), nullable=False, unique=True),
    Column("residency", String(32), nullable=False),
    Column("created_at", Float, nullable=False),
)

teams = Table(
    "teams",
    metadata,
    Column("team_id", String(64), primary_key=True),
    Column("organisation_id", ForeignKey("organisations.organisation_id"), nullable=False),
    Column("name", String(200), nullable=False),
    Column("created_at", Float, nullable=False),
    Index("teams_by_name", "organisation_id", "name", unique=True),
)

keys = Table(
    "keys",
    metadata,
    Column("key_id", String(64), primary_key=True),
    Column("team_id", ForeignKey("teams.team_id"), nullable=False),
    Column("name", String(200), nullable=False),
    Column("digest", LargeBinary(32), nullable=False, unique=True),
    Column("shown", String(16), nullable=False),
    Column("roles", String(200), nullable=False),
    Column("data_class", String(32), nullable=False),
    Column("budget_nanousd", BigInteger),
    Column("budget_period", String(16)),
    Column("requests_per_minute", Integer),
    Column("created_at", Float, nullable=False),
    Column("revoked_at", Float),
)

requests = Table(
    "requests",
    metadata,
    Column("request_id", String(64), primary_key=True),
    Column("organisation_id", String(64), nullable=False),
    Column("team_id", String(64), nullable=False),
    Column("key_id", String(64), nullable=False),
    Column("day", String(10), nullable=False),
    Column("received_at", Float, nullable=False),
    Column("format", String(32), nullable=False),
    Column("request_model", String(200), nullable=False),
    Column("data_class", String(32), nullable=False),
    Column("labels", Text, nullable=False),
    Column("policy", String(200), nullable=False),
    Column("decision", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("error", String(64)),
    Column("target", String(200)),
    Column("attempts", Integer, nullable=False),
    Column("cache", String(8), nullable=False),
    Column("is_stream", Boolean, nullable=False),
    Column("duration_seconds", Float, nullable=False),
    Column("first_chunk_seconds", Float),
    Column("cost_nanousd", BigInteger, nullable=False),
    Column("dropped", Text, nullable=False),
    Index("requests_by_day", "organisation_id", "day"),
)

attempts = Table(
    "attempts",
    metadata,
    Column("attempt_id", String(80), primary_key=True),
    Column("request_id", String(64), nullable=False, index=True),
    Column("organisation_id", String(64), nullable=False),
    Column("team_id", String(64), nullable=False),
    Column("key_id", String(64), nullable=False),
    Column("day", String(10), nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("target", String(200), nullable=False),
    Column("provider", String(64), nullable=False),
    Column("model", String(200), nullable=False),
    Column("response_model", String(200)),
    Column("state", String(16), nullable=False),
    Column("usage_source", String(16), nullable=False),
    Column("input_tokens", BigInteger, nullable=False),
    Column("output_tokens", BigInteger, nullable=False),
    Column("cache_read_tokens", BigInteger, nullable=False),
    Column("cache_write_tokens", BigInteger, nullable=False),
    Column("cache_write_1h_tokens", BigInteger, nullable=False),
    Column("reasoning_tokens", BigInteger, nullable=False),
    Column("cost_nanousd", BigInteger, nullable=False),
    Column("reserved_nanousd", BigInteger, nullable=False),
    Column("finish_reason", String(32)),
    Column("raw_finish_reason", String(64)),
    Column("failure", String(64)),
    Column("upstream_status", Integer),
    Column("started_at", Float, nullable=False),
    Column("ended_at", Float),
    Column("dropped", Text, nullable=False),
    Index("attempts_by_key", "key_id", "day"),
    Index("attempts_by_day", "organisation_id", "day"),
)

policies = Table(
    "policies",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("name", String(200), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("text", Text, nullable=False),
    Column("author", String(200), nullable=False),
    Column("created_at", Float, nullable=False),
    Column("scope", String(200), nullable=False),
    Column("reason", Text, nullable=False),
    Column("diff", Text, nullable=False),
    Index("policies_by_digest", "scope", "digest"),
)
"""Versions of policies: rows are added, never changed. ``diff`` is against the version before in the scope."""

policy_activations = Table(
    "policy_activations",
    metadata,
    Column("activation_id", Integer, primary_key=True, autoincrement=False),
    Column("scope", String(200), nullable=False),
    Column("version", ForeignKey("policies.version"), nullable=False),
    Column("activated_by", String(200), nullable=False),
    Column("activated_at", Float, nullable=False),
    Column("reason", Text, nullable=False),
    Column("starts_at", Float, nullable=False),
    Column("canary_share", Float),
    Column("override", Text),
)
"""Which version was put in force, where, by whom and from when: rows are added, never changed."""

processes = Table(
    "processes",
    metadata,
    Column("process_id", String(64), primary_key=True),
    Column("host", String(200), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("started_at", Float, nullable=False),
    Column("seen_at", Float, nullable=False),
    Column("policy", String(200), nullable=False),
    Column("versions", Text, nullable=False),
    Column("catalogue", String(200), nullable=False),
    Column("unproven", Text, nullable=False),
)
"""What each running process runs; ``versions`` is JSON, by scope, ``unproven`` a JSON list of labels."""

policy_proofs = Table(
    "policy_proofs",
    metadata,
    Column("policy", String(300), primary_key=True),
    Column("catalogue", String(64), primary_key=True),
    Column("verifier", String(64), primary_key=True),
    Column("certificate", Text, nullable=False),
    Column("proved_at", Float, nullable=False),
)
"""What was proved of which document (a digest; of a base with overlays those of all parts), over which targets, by
which release; or what came of a try, whose place a proof takes."""

kept_responses = Table(
    "kept_responses",
    metadata,
    Column("organisation_id", String(64), primary_key=True),
    Column("team_id", String(64), primary_key=True),
    Column("response_id", String(200), primary_key=True),
    Column("previous_id", String(200)),
    Column("request_id", String(64), nullable=False),
    Column("key_id", String(64), nullable=False),
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float, nullable=False, index=True),
    Column("sealed", LargeBinary, nullable=False),
)
"""Responses that their clients want kept: ``sealed`` holds the request's own input and the answer."""

kept_items = Table(
    "kept_items",
    metadata,
    Column("organisation_id", String(64), primary_key=True),
    Column("team_id", String(64), primary_key=True),
    Column("item_id", String(200), primary_key=True),
    Column("response_id", String(200), nullable=False),
    ForeignKeyConstraint(
        ("organisation_id", "team_id", "response_id"),
        (
            "kept_responses.organisation_id",
            "kept_responses.team_id",
            "kept_responses.response_id",
        ),
        ondelete="CASCADE",
    ),
    Index("kept_items_by_response", "organisation_id", "team_id", "response_id"),
)
"""In which kept response an item of an answer stands."""
