"""Stand-ins that tests and benchmarks share; nothing of it is in the product."""
