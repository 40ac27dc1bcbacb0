"""Named experiments with their oracle. Sans-IO."""
