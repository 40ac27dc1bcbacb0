"""Manifests that cannot lose requests: rules over the whole set of objects, and how to repair what they find."""
