"""The command line: parses, chooses a body, wires, prints. Decides nothing."""
