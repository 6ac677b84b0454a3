"""Who listens on a port, in words, for the error that says it is taken.

Reads the system's socket table through psutil (imported only then); without the right to look, it says None.
"""

from __future__ import annotations


def describe_listener(port: int) -> str | None:
    """The command and number of the process that listens on this TCP port; None where that is not known."""
    import psutil

    try:
        connections = psutil.net_connections(kind="tcp")
    except (psutil.Error, OSError):
        return None
    for connection in connections:
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
            return _describe_process(connection.pid)
    return None


def _describe_process(pid: int) -> str:
    import psutil

    try:
        process = psutil.Process(pid)
        words = process.cmdline()
        name = " ".join(words[:4]) if words else process.name()
    except (psutil.Error, OSError):
        return f"process {pid}"
    return f"`{name}` (process {pid})"
