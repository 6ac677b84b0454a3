"""The one place that holds what happened: event log, tables folded from it, and content-addressed blobs.

Import `homefire.store.store` for the store itself; this package imports nothing, so that a child process
which only needs `durable` or `events` stays small.
"""
