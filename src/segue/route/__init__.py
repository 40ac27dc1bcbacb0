"""How a share of traffic becomes objects: today the Service selector. Pure."""
