"""Gateways of class `segue`: a proxy each, which is told what the objects say and asked what it has taken over."""
