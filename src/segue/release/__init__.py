"""The release engine: snapshot, plan, decide, one module per strategy, laws. Pure."""
