"""Frozen values every room speaks: errors, objects, workloads, manifests, happenings. Never does IO."""
