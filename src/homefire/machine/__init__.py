"""What this machine has: cores, memory, disk; read-only probes."""
