"""Measurements of this package beside other job queues: `python -m benchmarks`."""
