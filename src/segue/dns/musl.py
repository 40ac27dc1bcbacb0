"""musl's walk (1.1.13 and later): the search list or the name, and whatever is not NXDOMAIN ends it.

Rule 1: a name with `ndots` dots or a trailing dot never sees the search list.
Rule 2: only NXDOMAIN goes on to the next domain. NODATA ends the walk, and so does a server that fails.
Rule 3: every query goes to all servers at once.
Rule 4: on SERVFAIL it asks again at once, twice per type in each of `attempts` rounds, and waits until `timeout`.
"""

from __future__ import annotations

from segue.dns.lookup import Lookup, Outcome, Query, Question, Step, askable, joined
from segue.dns.resolver import Resolver
from segue.dns.world import Said, World

ATTEMPTS = 2
ATTEMPTS_MAX = 10
LINE_MAX = 254  # a longer line of resolv.conf is not read
NAME_CHARS_MAX = 254
RETRIES_PER_TYPE = 2
_TOLD = {
    Said.NXDOMAIN: Outcome.NO_NAME,
    Said.NODATA: Outcome.NO_NAME,  # 1.2.4 and later may tell EAI_NODATA; the walk is the same
    Said.SERVFAIL: Outcome.TRY_AGAIN,
    Said.REFUSED: Outcome.TRY_AGAIN,
}


def walk(question: Question, resolver: Resolver, world: World) -> Lookup:
    """All of it."""
    name = question.name
    if not askable(name) or len(name) > NAME_CHARS_MAX:
        return Lookup(outcome=Outcome.NO_NAME, source="nobody")
    queries: list[Query] = []
    for candidate, because in _candidates(question, resolver):
        step = _ask(candidate, because, question, resolver, world)
        queries += step.queries
        if step.said is Said.NXDOMAIN:
            continue
        assert step.said is not None
        if step.said is Said.FOUND:
            hit = next(query for query in step.queries if query.said is Said.FOUND)
            return Lookup(queries=tuple(queries), outcome=Outcome.FOUND, found_as=world.behind(hit.name, hit.type))
        return Lookup(queries=tuple(queries), outcome=_TOLD[step.said])
    return Lookup(queries=tuple(queries), outcome=Outcome.NO_NAME)


def search_read(resolver: Resolver) -> tuple[str, ...]:
    """The search list as far as musl reads it."""
    return resolver.search if len("search " + " ".join(resolver.search)) <= LINE_MAX else ()


def _candidates(question: Question, resolver: Resolver) -> list[tuple[str, str]]:
    name = question.name
    dots = "1 dot" if question.dots == 1 else f"{question.dots} dots"
    if name.endswith("."):
        return [(name.rstrip("."), "as it is: it ends with a dot")]
    if question.dots >= resolver.ndots:
        return [(name, f"as it is: {dots}, ndots:{resolver.ndots} reached; the search list is not used")]
    # A lone dot in the list is nothing to musl (1.2.3 and older send a malformed packet for it)
    search = [domain for domain in search_read(resolver) if domain.strip(".") and askable(joined(name, domain))]
    listed = [
        (joined(name, domain), f"search domain {number} of {len(search)}: {dots}, ndots:{resolver.ndots}")
        for number, domain in enumerate(search, 1)
    ]
    return [*listed, (name, f"as it is: {'the search list found nothing' if listed else 'there is no search list'}")]


def _ask(name: str, because: str, question: Question, resolver: Resolver, world: World) -> Step:
    """One name: all types to all servers, and again where they fail."""
    servers = resolver.nameservers or ("127.0.0.1",)
    answers = {kind: world.says(name, kind) for kind in question.types}

    def to_all(kinds: list[str], why: str) -> list[Query]:
        return [
            Query(name=name, type=kind, nameserver=server, said=answers[kind], because=why)
            for kind in kinds
            for server in servers
        ]

    queries = to_all(list(answers), because)
    unanswered = [kind for kind, said in answers.items() if said in (Said.SERVFAIL, Said.REFUSED)]
    if not unanswered:
        return Step(queries=tuple(queries), said=_joint(list(answers.values())))
    failing = [kind for kind in unanswered if answers[kind] is Said.SERVFAIL]
    for attempt in range(max(1, min(ATTEMPTS_MAX, resolver.number("attempts", ATTEMPTS)))):
        if attempt:
            queries += to_all(unanswered, "no answer that counts: the next round")
        again = RETRIES_PER_TYPE * len(answers) if failing else 0
        queries += [
            Query(
                name=name, type=failing[number % len(failing)], nameserver=servers[0], said=Said.SERVFAIL, because=why
            )
            for number in range(again)
            for why in ("SERVFAIL before: again at once",)
        ]
    return Step(queries=tuple(queries), said=Said.SERVFAIL)


def _joint(answers: list[Said]) -> Said:
    """NXDOMAIN of either type means that there is no such name."""
    if Said.NXDOMAIN in answers:
        return Said.NXDOMAIN
    return Said.FOUND if Said.FOUND in answers else Said.NODATA
