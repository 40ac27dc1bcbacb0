"""What a namespace may hold (ResourceQuota): how much an object counts for, and who is refused what."""
