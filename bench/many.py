"""`BENCH=many`: 10 million requests in one run. Not among all benchmarks, for it takes minutes."""

from bench.peak import many as figures

__all__ = ["figures"]
