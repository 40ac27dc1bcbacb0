"""Causes, bounds and receipts: what happened, proved from records. Pure."""
