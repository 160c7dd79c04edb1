"""Speed against peers, as ratios in the same run: `python -m benchmarks`."""
