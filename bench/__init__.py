"""Programs that measure: ours and the peer in one run, interleaved; ratios and CPU-seconds before wall time."""
