"""Benchmarks: `make bench [BENCH=name]`. Figures, never verdicts of a test."""
