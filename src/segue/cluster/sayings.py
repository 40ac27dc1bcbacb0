"""Event objects (core/v1): what is said about an object, counted up where it is said again. Never a cause of anything.

Events older than an hour are forgotten, as a real cluster forgets them.
"""

from __future__ import annotations

from segue.cluster.store import Store
from segue.cluster.writes import Say
from segue.model.objects import Obj, Ref, copy_of, name_of, namespace_of, rfc3339, seconds_of, uid_of, version_of
from segue.ports import Chance

AGGREGATED_FOR_S = 600  # client-go's correlator: equal events within ten minutes are one
KEPT_FOR_S = 3600  # kube-apiserver --event-ttl
_SWEEP_EVERY = 200


class Sayings:
    """Turns `Say` into Event objects; remembers what was said lately."""

    def __init__(self, store: Store, chance: Chance) -> None:
        self._store = store
        self._chance = chance
        self._said: dict[tuple[str, ...], str] = {}  # what is equal -> the Event's name
        self._since_sweep = 0

    def event_of(self, say: Say, now_s: float) -> tuple[Obj, bool]:
        """The Event to write, and whether it is new."""
        namespace = namespace_of(say.about) or "default"
        key = (uid_of(say.about), namespace, name_of(say.about), say.component, say.kind, say.reason, say.message)
        known = self._store.get(Ref(resource="events", namespace=namespace, name=self._said.get(key, "")))
        if known is not None and now_s - seconds_of(known["firstTimestamp"]) < AGGREGATED_FOR_S:
            again = copy_of(known)
            again["count"] += 1
            again["lastTimestamp"] = rfc3339(now_s)
            return again, False
        name = f"{name_of(say.about)}.{self._chance.suffix(16)}"
        self._said[key] = name
        event: Obj = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": namespace},
            "involvedObject": _reference(say),
            "reason": say.reason,
            "message": say.message,
            "source": {"component": say.component},
            "firstTimestamp": rfc3339(now_s),
            "lastTimestamp": rfc3339(now_s),
            "count": 1,
            "type": say.kind,
            "eventTime": None,
            "reportingComponent": say.component,
            "reportingInstance": "",
        }
        return event, True

    def expired(self, now_s: float) -> list[Ref]:
        """Events to forget; looked for once every so many calls."""
        self._since_sweep += 1
        if self._since_sweep < _SWEEP_EVERY:
            return []
        self._since_sweep = 0
        old = [
            Ref(resource="events", namespace=namespace_of(event), name=name_of(event))
            for event in self._store.all_of("events")
            if now_s - seconds_of(event.get("lastTimestamp") or event["metadata"]["creationTimestamp"]) > KEPT_FOR_S
        ]
        names = {ref.name for ref in old}
        self._said = {key: name for key, name in self._said.items() if name not in names}
        return old


def _reference(say: Say) -> Obj:
    about = say.about
    reference: Obj = {
        "kind": about.get("kind", ""),
        "namespace": namespace_of(about),
        "name": name_of(about),
        "uid": uid_of(about),
        "apiVersion": about.get("apiVersion", ""),
        "resourceVersion": version_of(about),
    }
    return {key: value for key, value in reference.items() if value}
