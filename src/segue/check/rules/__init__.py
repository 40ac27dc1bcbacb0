"""The rules, one module per family. No rule knows another; what they share is `check.case`."""
