"""Sessions: which conversation a message belongs to."""
