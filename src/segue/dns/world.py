"""What DNS servers would answer: which names exist, which fail, and what autopath makes of it.

A name that is not listed does not exist. `failing` is for whole domains whose server does not work.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

A, AAAA = "A", "AAAA"


class Said(StrEnum):
    """An answer, as far as a resolver's walk cares."""

    FOUND = "found"
    NODATA = "NODATA"  # the name exists, not with this type
    NXDOMAIN = "NXDOMAIN"
    SERVFAIL = "SERVFAIL"
    REFUSED = "REFUSED"


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Names without a trailing dot, in lower case."""

    exists: Mapping[str, frozenset[str]] = field(default_factory=dict)  # name -> types it has, none for NODATA
    failing: Mapping[str, Said] = field(
        default_factory=dict
    )  # domain ("" for all) -> what everything in it is answered
    failing_types: Mapping[tuple[str, str], Said] = field(default_factory=dict)  # the same of one name and type
    autopath: tuple[str, ...] = ()  # the client's search list, where the server walks it instead

    def says(self, name: str, kind: str) -> Said:
        """What a query is answered."""
        plain = name.rstrip(".").lower()
        if self.autopath and plain.endswith(f".{self.autopath[0]}"):
            return self._walked(plain.removesuffix(f".{self.autopath[0]}"), kind)
        return self._plain(plain, kind)

    def behind(self, name: str, kind: str = A) -> str:
        """Which name the answer is really of: autopath answers with a CNAME to it."""
        plain = name.rstrip(".").lower()
        if not (self.autopath and plain.endswith(f".{self.autopath[0]}")):
            return plain
        base = plain.removesuffix(f".{self.autopath[0]}")
        tried = (f"{base}.{domain}" if domain else base for domain in (*self.autopath, ""))
        return next((one for one in tried if self._plain(one, kind) is Said.FOUND), plain)

    def _walked(self, base: str, kind: str) -> Said:
        """CoreDNS' autopath: the first answer in the search list that is not NXDOMAIN, and the name itself at last."""
        for domain in (*self.autopath, ""):
            said = self._plain(f"{base}.{domain}" if domain else base, kind)
            if said in (Said.FOUND, Said.NODATA):
                return said
        return self._plain(f"{base}.{self.autopath[0]}", kind)

    def _plain(self, name: str, kind: str) -> Said:
        if said := self.failing_types.get((name, kind)):
            return said
        labels = name.split(".")
        for start in range(len(labels) + 1):
            if said := self.failing.get(".".join(labels[start:])):
                return said
        if name in self.exists:
            return Said.FOUND if kind in self.exists[name] else Said.NODATA
        return Said.NXDOMAIN
