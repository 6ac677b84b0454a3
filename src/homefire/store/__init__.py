"""The store: the append-only event log, its projections, and content-addressed blobs."""
