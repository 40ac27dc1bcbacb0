"""HorizontalPodAutoscalers: how many pods their metrics ask for, how fast that may change, what is said about it."""
