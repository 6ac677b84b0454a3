"""Setting up a checkout: which builds this machine needs, their installation, the link to the command.

Runs before the virtual environment exists, so it needs the standard library only (Python 3.11 or newer).
"""
