"""What stands around a Deployment in its namespace and may get in the way of a release.

Rule: a list that could not be read is None, not empty: what is not known is not reported as fine.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from segue.model.objects import Obj

Listed: TypeAlias = tuple[Obj, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """Lists of objects as the API gives them; None where they could not be read."""

    quotas: Listed = ()
    budgets: Listed = ()
    autoscalers: Listed = ()
    policies: Listed = ()  # NetworkPolicies
    claims: Listed = ()  # PersistentVolumeClaims
    nodes: Listed = ()
    denied: tuple[str, ...] = ()  # verbs that we may not do to pods
    unread: tuple[str, ...] = field(default=())  # resources that we may not read
