"""The trainer worker: one process that trains one run. The server uses its contract and its recipe, nothing else."""
