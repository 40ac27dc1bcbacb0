"""What runs in pods: an example server, and what makes servers leave well. Standard library only; nothing of segue."""
