"""The Job controller (W30-W39): its pods, what is counted, how it ends, and the controller that joins them."""
