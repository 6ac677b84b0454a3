"""Engines: processes that hold weights and generate."""
