"""One lookup explained: what it costs as things are, and what it would cost otherwise.

Rule: a saving counts only where the program is told the same; where a setting changes the answer, that is said.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from segue.dns.lookup import Lookup, Outcome, Question, lookup
from segue.dns.resolver import NODE_LOCAL, HostsLine, Resolver
from segue.dns.world import AAAA, A, World
from segue.model.objects import Obj

BOTH = frozenset({A, AAAA})


@dataclass(frozen=True, slots=True, kw_only=True)
class Saving:
    """The same lookup under another setting."""

    setting: str
    how: str
    lookup: Lookup
    same_answer: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """All that `segue dns explain` tells."""

    question: Question
    resolver: Resolver
    lookup: Lookup
    savings: tuple[Saving, ...]
    assumed: tuple[str, ...] = ()  # what nobody could look at
    measured: Mapping[str, object] = field(default_factory=dict)

    def as_obj(self) -> Obj:
        """For machines."""
        told: Obj = {
            "name": self.question.name,
            "libc": self.question.libc.value,
            "family": self.question.family.value,
            "resolver": {
                "nameservers": list(self.resolver.nameservers),
                "search": list(self.resolver.search),
                "ndots": self.resolver.ndots,
                "options": dict(self.resolver.options),
            },
            "queries_total": len(self.lookup.queries),
            "outcome": self.lookup.outcome.name,
            "source": self.lookup.source,
            "found_as": self.lookup.found_as,
            "queries": [
                {
                    "name": one.name,
                    "type": one.type,
                    "nameserver": one.nameserver,
                    "answer": one.said.value,
                    "because": one.because,
                }
                for one in self.lookup.queries
            ],
            "savings": [
                {
                    "setting": one.setting,
                    "how": one.how,
                    "queries_total": len(one.lookup.queries),
                    "same_answer": one.same_answer,
                }
                for one in self.savings
            ],
            "assumed": list(self.assumed),
        }
        return told | ({"measured": dict(self.measured)} if self.measured else {})


def explained(question: Question, resolver: Resolver, world: World, assumed: tuple[str, ...] = ()) -> Explained:
    """Walk it, and walk it again under every setting that may help."""
    found = lookup(question, resolver, world)
    return Explained(
        question=question,
        resolver=resolver,
        lookup=found,
        savings=tuple(_savings(question, resolver, world, found)),
        assumed=assumed,
    )


def _savings(question: Question, resolver: Resolver, world: World, now: Lookup) -> list[Saving]:
    if now.source in ("address", "hosts"):
        return []
    tried: list[tuple[str, str, Question, Resolver, World]] = []
    if now.found_as and not question.name.endswith("."):
        dotted = replace(question, name=f"{now.found_as}.")
        tried.append(("trailing dot", f"ask for {now.found_as}. instead", dotted, resolver, world))
    for ndots in ("1", "2"):
        if resolver.ndots > int(ndots):
            how = f'dnsConfig: options: [{{name: ndots, value: "{ndots}"}}]'
            tried.append((f"ndots:{ndots}", how, question, resolver.with_options(ndots=ndots), world))
    if resolver.search and not world.autopath:
        served = replace(world, autopath=resolver.search)
        tried.append(("autopath", "CoreDNS walks the search list itself: autopath", question, resolver, served))
    if NODE_LOCAL not in resolver.nameservers:
        near = replace(resolver, nameservers=(NODE_LOCAL,))
        tried.append(
            (
                "NodeLocal",
                "as many queries, but to a cache on the node: no network, TCP upstream",
                question,
                near,
                world,
            )
        )
    if now.outcome is Outcome.FOUND:
        line = HostsLine(ip="192.0.2.1", names=(question.name.rstrip("."),))
        how = f"hostAliases: {question.name} with a fixed address, which somebody must then watch"
        tried.append(("hostAliases", how, question, replace(resolver, hosts=(*resolver.hosts, line)), world))
    return [_saving(one, now) for one in tried]


def _saving(tried: tuple[str, str, Question, Resolver, World], now: Lookup) -> Saving:
    setting, how, question, resolver, world = tried
    found = lookup(question, resolver, world)
    same = found.outcome is now.outcome and (found.found_as == now.found_as or setting == "hostAliases")
    return Saving(setting=setting, how=how, lookup=found, same_answer=same)


def world_of(names: Mapping[str, frozenset[str]], question: Question, domain: str) -> tuple[World, tuple[str, ...]]:
    """What servers would answer: the cluster's names as they are, and what was asked for outside of it as there."""
    plain = question.name.rstrip(".").lower()
    outside = "." in plain and not plain.endswith((".svc", f".{domain}"))
    short = any(name.startswith(f"{plain}.") for name in names)  # SERVICE.NAMESPACE is meant, not a name outside
    if not outside or short or plain in names:
        return World(exists=names), ()
    return World(exists={**names, plain: BOTH}), (f"{plain} exists outside of the cluster, with A and AAAA",)
