"""Programs for a machine with a GPU; with `--device cpu` they run anywhere, slowly."""
