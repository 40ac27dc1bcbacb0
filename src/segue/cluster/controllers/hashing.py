"""The hashes in names of ReplicaSets and ControllerRevisions: FNV of 32 bits in letters that spell no words."""

from __future__ import annotations

_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"  # no vowels, no 0, 1, 3: no words and nothing to misread
_BASIS, _PRIME = 2166136261, 16777619


def fnv1(data: bytes) -> int:
    """FNV-1: multiply, then take the byte in."""
    value = _BASIS
    for byte in data:
        value = ((value * _PRIME) & 0xFFFFFFFF) ^ byte
    return value


def fnv1a(data: bytes) -> int:
    """FNV-1a: take the byte in, then multiply."""
    value = _BASIS
    for byte in data:
        value = ((value ^ byte) * _PRIME) & 0xFFFFFFFF
    return value


def safe(value: int) -> str:
    """A number as a part of a name: its decimal digits in other letters."""
    return "".join(_ALPHABET[ord(digit) % len(_ALPHABET)] for digit in str(value))
