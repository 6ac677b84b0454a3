"""Serving: routes, residency and scheduling of engines."""
