"""Who may do what: asks the roles, and says no in Kubernetes' words. The read-only token needs no role to read.

Whoever asks to act as somebody else (`kubectl --as`) must be allowed to, and then is that somebody.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from segue.cluster.api.results import ApiUser
from segue.cluster.api.routes import Route
from segue.cluster.rights.rules import ACCOUNT, Person, Verdict, Wish, judge
from segue.cluster.store import Store
from segue.model.errors import StatusError
from segue.model.objects import Obj

_READING = {"get", "list", "watch"}
_SELF_REVIEWS = "self"  # how the resources are called by which anybody asks about himself
AUTHENTICATED = "system:authenticated"


class Gate:
    """Asks the roles in the store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def allows(self, user: ApiUser, wish: Wish) -> Verdict:
        """Whether the user may."""
        if not user.writes:
            reads = wish.verb in _READING or wish.resource.startswith(_SELF_REVIEWS)
            return Verdict(allowed=reads, reason="" if reads else f'"{user.name}" may only read')
        return judge(self._store, person_of(user), wish)

    def check(self, user: ApiUser, wish: Wish) -> None:
        """Raise 403 where the user may not."""
        verdict = self.allows(user, wish)
        if not verdict.allowed:
            raise refusal(user, wish, verdict)

    def person(self, user: ApiUser, name: str, groups: Sequence[str], wish: Wish) -> ApiUser:
        """The user as whom somebody wants to act; StatusError 403 where he may not."""
        namespace, _, account = name.removeprefix(ACCOUNT).partition(":")
        is_account = name.startswith(ACCOUNT) and bool(account)
        wishes = [
            Wish(verb="impersonate", resource="serviceaccounts", namespace=namespace, name=account)
            if is_account
            else Wish(verb="impersonate", resource="users", name=name)
        ]
        wishes += [Wish(verb="impersonate", resource="groups", name=group) for group in groups]
        if not all(self.allows(user, each).allowed for each in wishes):
            self.check(user, replace(wish, verb=f"impersonate-on:user-info:{wish.verb}"))
        own: tuple[str, ...] = tuple(groups)
        if is_account and not groups:
            own = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}")
        return ApiUser(name=name, groups=tuple(dict.fromkeys((*own, AUTHENTICATED))))


def person_of(user: ApiUser) -> Person:
    """The user as roles know him."""
    return Person(name=user.name, groups=user.groups)


def wish_of(verb: str, route: Route) -> Wish:
    """What a call on a resource asks for."""
    kind = route.kind
    namespace = route.name if kind.plural == "namespaces" else route.namespace
    return Wish(
        verb=verb,
        group=kind.group,
        resource=kind.plural,
        subresource=route.subresource,
        namespace=namespace,
        name=route.name,
    )


def refusal(user: ApiUser, wish: Wish, verdict: Verdict) -> StatusError:
    """403 in Kubernetes' words."""
    trouble = f": rbac: {verdict.trouble}" if verdict.trouble else ""
    if wish.path:
        return StatusError(
            403, "Forbidden", f'forbidden: User "{user.name}" cannot {wish.verb} path "{wish.path}"{trouble}'
        )
    whole = f"{wish.resource}.{wish.group}" if wish.group else wish.resource
    where = f'in the namespace "{wish.namespace}"' if wish.namespace else "at the cluster scope"
    subject = f'{whole} "{wish.name}"' if wish.name else whole
    message = (
        f'{subject} is forbidden: User "{user.name}" cannot {wish.verb} resource "{wish.whole_resource}" '
        f'in API group "{wish.group}" {where}{trouble}'
    )
    details: Obj = {"name": wish.name, "group": wish.group, "kind": wish.resource}
    return StatusError(403, "Forbidden", message, details)


def unauthorized() -> StatusError:
    """401: no token, or one that nobody was given."""
    return StatusError(401, "Unauthorized", "Unauthorized")
