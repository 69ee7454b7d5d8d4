"""Benchmarks: each figure is a ratio against a peer or a limit, taken in one run on one machine."""
