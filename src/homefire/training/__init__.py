"""Training: from a correction to a promoted version, resumable at any moment."""
