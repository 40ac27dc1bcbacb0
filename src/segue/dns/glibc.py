"""glibc's walk (2.26 and later): res_search with A and AAAA side by side.

Rule 1: NXDOMAIN and NODATA go on to the next domain; so does SERVFAIL, after every server was asked `attempts` times.
Rule 2: whatever else goes wrong ends the search list, and the name is still tried as it is.
Rule 3: one good answer of the two, A or AAAA, is enough: the other is not asked for again.
"""

from __future__ import annotations

from segue.dns.lookup import Lookup, Outcome, Query, Question, Step, askable, joined
from segue.dns.resolver import Resolver
from segue.dns.world import Said, World

ATTEMPTS = 2
ATTEMPTS_MAX = 5
BAD = (Said.SERVFAIL, Said.REFUSED)
_TOLD = {
    Said.NXDOMAIN: Outcome.NO_NAME,
    Said.NODATA: Outcome.NO_ADDRESS,
    Said.SERVFAIL: Outcome.TRY_AGAIN,
    Said.REFUSED: Outcome.TRY_AGAIN,
    None: Outcome.NO_NAME,
}


def walk(question: Question, resolver: Resolver, world: World) -> Lookup:
    """All of it."""
    steps: list[Step] = []
    tried_as_is = question.name.endswith(".") or question.dots >= resolver.ndots
    if tried_as_is:
        why = (
            "it ends with a dot"
            if question.name.endswith(".")
            else f"{_dots(question)}, ndots:{resolver.ndots} reached"
        )
        steps.append(_ask(question.name, f"as it is: {why}", question, resolver, world))
        if steps[-1].said is Said.FOUND or question.name.endswith("."):
            return _done(steps, steps[-1].said, world)
    root_listed = False
    if not question.name.endswith("."):
        for number, domain in enumerate(resolver.search, 1):
            root_listed |= not domain.strip(".")
            why = f"search domain {number} of {len(resolver.search)}: {_dots(question)}, ndots:{resolver.ndots}"
            steps.append(_ask(joined(question.name, domain), why, question, resolver, world))
            if steps[-1].said is Said.FOUND:
                return _done(steps, Said.FOUND, world)
            if steps[-1].said in (Said.REFUSED, None):
                break
    kept_back = "no-tld-query" in resolver.options and not question.dots and resolver.search
    walked = steps
    if not (tried_as_is or root_listed or kept_back):
        why = "as it is: the search list found nothing" if steps else "as it is: there is no search list"
        steps = [*steps, _ask(question.name, why, question, resolver, world)]
        if steps[-1].said is Said.FOUND:
            return _done(steps, Said.FOUND, world)
    return _done(steps, _worst(steps, walked, tried_as_is=tried_as_is), world)


def _worst(steps: list[Step], walked: list[Step], *, tried_as_is: bool) -> Said | None:
    """The failure that the program is told: of the first try as it is, else NODATA, else SERVFAIL, else the last."""
    if tried_as_is:
        return steps[0].said
    said = {step.said for step in walked}
    return next((one for one in (Said.NODATA, Said.SERVFAIL) if one in said), steps[-1].said)


def _ask(name: str, because: str, question: Question, resolver: Resolver, world: World) -> Step:
    """One name: both types to one server; the next server, and all again, only where no answer was any good."""
    if not askable(name):
        return Step(queries=(), said=None)
    types = [kind for kind in question.types if kind == "A" or "no-aaaa" not in resolver.options]
    if not types:
        return Step(queries=(), said=Said.NODATA)
    queries: list[Query] = []
    answers = {kind: world.says(name, kind) for kind in types}
    for attempt in range(max(1, min(ATTEMPTS_MAX, resolver.number("attempts", ATTEMPTS)))):
        for number, server in enumerate(resolver.nameservers or ("127.0.0.1",)):
            why = because if not queries else f"{queries[-1].said} before: {'again' if attempt else 'the next server'}"
            assert number or attempt or not queries
            queries += [
                Query(name=name.rstrip("."), type=kind, nameserver=server, said=said, because=why)
                for kind, said in answers.items()
            ]
            good = [said for said in answers.values() if said not in BAD]
            if good:
                return Step(queries=tuple(queries), said=_joint(good))
    return Step(queries=tuple(queries), said=next(iter(answers.values())))


def _joint(good: list[Said]) -> Said:
    for said in (Said.FOUND, Said.NXDOMAIN):
        if said in good:
            return said
    return Said.NODATA


def _done(steps: list[Step], said: Said | None, world: World) -> Lookup:
    queries = tuple(query for step in steps for query in step.queries)
    if said is Said.FOUND:
        hit = next(query for query in steps[-1].queries if query.said is Said.FOUND)
        return Lookup(queries=queries, outcome=Outcome.FOUND, found_as=world.behind(hit.name, hit.type))
    return Lookup(queries=queries, outcome=_TOLD[said], source="dns" if queries else "nobody")


def _dots(question: Question) -> str:
    return "1 dot" if question.dots == 1 else f"{question.dots} dots"
