"""When to fire a request and what came of it. Sans-IO."""
