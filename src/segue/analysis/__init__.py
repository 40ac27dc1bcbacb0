"""Whether the new version is good enough to go on with: samples in, a verdict with its numbers out."""
