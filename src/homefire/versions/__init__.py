"""Versions: published, hash-verified, numbered models; their gate, promotion and rollback."""
