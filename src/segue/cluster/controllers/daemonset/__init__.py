"""The DaemonSet controller (W3, W20-W27): its pods, the steps of one look, and the controller that joins them."""
