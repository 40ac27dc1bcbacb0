"""Fires an open loop of requests: `python -m segue.host.firing`, alone or inside a cluster's client namespace.

Imports little: it starts beside a measurement and must not disturb it.
"""
