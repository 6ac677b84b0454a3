"""The nouns of the log, one module each: its events, its tables, its folds, its rows, and who reads them.

A new noun is a module here, its events in `store/events.py`, and its reader in `store/store.py`.
"""
