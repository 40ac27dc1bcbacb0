"""Observe, apply, journal: sans-IO flows that yield requests and are fed results."""
