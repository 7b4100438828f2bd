"""Alembic's entry: runs on the connection that `parlour.backends.sql.migrate` gives it."""

from alembic import context

from parlour.backends.sql.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite alters tables by copying them
    on_version_apply=context.config.attributes.get("on_version_apply"),
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()
