"""Schema migrations, one revision a reason; run by Alembic on SQLite and PostgreSQL."""
