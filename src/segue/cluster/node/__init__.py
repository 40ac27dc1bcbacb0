"""The node agent's mind: pods and containers as machines that want effects and are told results. Never does IO."""
