"""Evidence of quiet: arrivals, live connections, verdict. Pure."""
