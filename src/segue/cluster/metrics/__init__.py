"""What pods and nodes use: readings of what was measured, and metrics.k8s.io's objects of them."""
