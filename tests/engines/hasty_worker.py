"""An engine worker that gives a chat template one second instead of ten."""

from __future__ import annotations

from homefire.engines import llama, worker

llama.TEMPLATE_TIMEOUT_S = 1.0

if __name__ == "__main__":
    worker.main()
