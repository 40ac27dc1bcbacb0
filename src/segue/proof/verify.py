"""Whether a receipt says what its raw record says: the receipt is made anew from the record, and both are compared.

A difference is a sentence with the place in the receipt. Numbers are compared exactly: both ways compute the same.
"""

from __future__ import annotations

from segue.model.objects import Obj
from segue.proof.raw import Raw

# Words that explain and claim nothing: a later version may put them better.
_PROSE = frozenset({"what", "remedy", "example", "sentence"})
SAID_MAX = 80  # characters of a value that a sentence quotes


def differences(document: Obj, raw: Raw) -> list[str]:
    """Each claim of a receipt that its record does not bear out; none where they agree."""
    recomputed = raw.receipt()
    found: list[str] = []
    same_words = document.get("tool") == recomputed["tool"]
    claimed = {key: value for key, value in document.items() if key != "record"}
    _compare("", claimed, {key: value for key, value in recomputed.items() if key != "record"}, same_words, found)
    told = document.get("record") or {}
    for name, count in (("requests", len(raw.records)), ("happenings", len(raw.happenings))):
        if told.get(name) != count:
            found.append(_differs(f"record.{name}", told.get(name), count))
    return found


def _compare(place: str, said: object, found: object, same_words: bool, wrong: list[str]) -> None:
    if isinstance(said, dict) and isinstance(found, dict):
        for key in [*found, *(key for key in said if key not in found)]:
            if key in _PROSE and not same_words:
                continue
            inner = f"{place}.{key}" if place else str(key)
            if key not in said:
                wrong.append(f"{inner}: the receipt leaves it out, its record says {_quoted(found[key])}")
            elif key not in found:
                wrong.append(f"{inner}: the receipt says {_quoted(said[key])}, its record knows nothing of it")
            else:
                _compare(inner, said[key], found[key], same_words, wrong)
        return
    if isinstance(said, list) and isinstance(found, list | tuple):
        if len(said) != len(found):
            wrong.append(f"{place}: the receipt has {len(said):,} entries, its record makes {len(found):,}")
        for index, (one, other) in enumerate(zip(said, found, strict=False)):
            _compare(f"{place}[{index}]", one, other, same_words, wrong)
        return
    # True equals 1 in Python, and in a receipt it does not.
    if said != found or isinstance(said, bool) is not isinstance(found, bool):
        wrong.append(_differs(place, said, found))


def _differs(place: str, said: object, found: object) -> str:
    return f"{place}: the receipt says {_quoted(said)}, its record says {_quoted(found)}"


def _quoted(value: object) -> str:
    """A value in a sentence: short, and on one line whatever it holds."""
    text = repr(value)
    return text if len(text) <= SAID_MAX else text[: SAID_MAX - 3] + "..."
