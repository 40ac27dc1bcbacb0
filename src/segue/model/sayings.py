"""Sentences that say what was done, compared: the same act on another object differs in one word."""

from __future__ import annotations


def differing_word(one: str, other: str) -> int:
    """The place of the only word in which two sentences differ; -1 where they are equal or not of one kind."""
    words, others = one.split(), other.split()
    places = [place for place, pair in enumerate(zip(words, others, strict=False)) if pair[0] != pair[1]]
    return places[0] if len(words) == len(others) and len(places) == 1 else -1
