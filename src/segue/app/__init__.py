"""Hooks for application servers. Standard library only; imports nothing of segue."""
