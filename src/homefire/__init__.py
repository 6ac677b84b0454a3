"""Homefire: a self-hosted AI that serves, remembers, learns from corrections, and can always go back."""

__version__ = "0.1.0"
