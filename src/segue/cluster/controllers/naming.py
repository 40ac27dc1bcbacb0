"""Names for pods that have no name of their own: the owner's name and five random characters, free in the namespace."""

from __future__ import annotations

from segue.cluster.view import View
from segue.model.objects import Ref
from segue.ports import Chance

LONGEST_PREFIX = 58  # a generated name has 63 characters at most, five of them random
_RANDOM = 5


def free_names(view: View, chance: Chance, namespace: str, prefix: str, count: int) -> list[str]:
    """So many names that no pod of the namespace has."""
    names: list[str] = []
    while len(names) < count:
        name = prefix[:LONGEST_PREFIX] + chance.suffix(_RANDOM)
        if name not in names and view.get(Ref(resource="pods", namespace=namespace, name=name)) is None:
            names.append(name)
    return names
