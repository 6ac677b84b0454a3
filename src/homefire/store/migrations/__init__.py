"""Alembic migrations of the database. A migration is never edited once it was released.

The log (`events`) is only ever added to. Projections are disposable: a migration may drop and remake them
empty, and after every migration all of them are rebuilt from the log (`schema.migrate`).
"""
