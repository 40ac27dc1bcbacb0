"""Policies that users of a cluster write about objects (ValidatingAdmissionPolicy): what they match and say."""
