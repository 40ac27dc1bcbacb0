"""Gateway API routes (HTTPRoute, GRPCRoute): shares are weights of backendRefs, pins are rules of their own.

What a rule said before lies in an annotation of the route, written by the very patch that changes it: whoever finds
the route can put it back, and a second release of somebody else sees that it is taken.

Rule 1: weights are exact. Those of a rule are multiplied until the share is a whole number, then divided by what they
have in common; where that exceeds what the API allows the share is refused, not rounded.
Rule 2: only rules that name the Service change, and in them only its part: other backends keep their proportion.
Rule 3: a rule whose weights sum up to 0 answers 500, so it is never written, and one that is found is refused.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass

from segue.model.errors import Conflict, Refused
from segue.model.http import JSON_PATCH, ApiRequest
from segue.model.objects import Obj, annotations_of, copy_of, name_of, namespace_of, version_of
from segue.route.shares import WHOLE, Pin, Reading, Split, percent

GROUP = "gateway.networking.k8s.io"
ANNOTATION = "segue.dev/shares"
MOST_WEIGHT = 1_000_000
MOST_RULES = 16
MOST_MATCHES = 64
_ESCAPED = ANNOTATION.replace("/", "~1")
_MANAGER = "segue"


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayRoute:
    """Routes of one kind."""

    kind: str = "HTTPRoute"

    def path(self, namespace: str, name: str) -> str:
        """Where the API keeps it."""
        return f"/apis/{GROUP}/v1/namespaces/{namespace}/{self.kind.lower()}s/{name}"

    def check(self, seen: Obj, split: Split, *, forces: bool) -> None:
        """What stands in the way of splitting this route."""
        said = f"{self.kind} {name_of(seen)}"
        note = _note_of(seen)
        if note is not None and note["app"] != split.app:
            raise Conflict(
                f"{said} is split by a release of {note['app']}",
                remedy=f"finish that one, or take it back: segue abort {note['app']}",
            )
        owner = owner_of(seen)
        if owner and not forces:
            raise Refused(
                f"{said} belongs to {owner}, who would put its weights back",
                remedy="let that one leave spec.rules alone, or say --force",
            )
        base = note["rules"] if note is not None else rules_of(seen)
        touched = [rule for rule in base if _mentions(rule, split.stable)]
        if not touched:
            named = sorted({str(one.get("name")) for rule in base for one in rule.get("backendRefs") or []})
            raise Refused(
                f"{said} has no rule that leads to Service {split.stable} (but to {', '.join(named) or 'nothing'})",
                remedy="name a route that does, or correct its backendRefs",
            )
        for rule in touched:
            _check_weights(rule, said, split.stable)
        untaken = not_accepted(seen)
        if untaken:
            raise Refused(
                f"{said} is not in effect: {untaken}", remedy=f"kubectl describe {self.kind.lower()} tells more"
            )
        split_rules(base, split, self.kind)

    def set_shares(self, seen: Obj, split: Split) -> ApiRequest:
        """Make the route say this split."""
        note = _note_of(seen)
        base = note["rules"] if note is not None else rules_of(seen)
        kept = {"app": split.app, "canary": split.canary, "share": split.share, "rules": base}
        kept |= {"stable": split.stable, "pins": [[one.by, one.name, one.value] for one in split.pins]}
        operations: list[Obj] = []
        if not annotations_of(seen):
            operations.append({"op": "add", "path": "/metadata/annotations", "value": {}})
        text = json.dumps(kept, separators=(",", ":"), sort_keys=True)
        operations.append({"op": "add", "path": f"/metadata/annotations/{_ESCAPED}", "value": text})
        operations.append({"op": "replace", "path": "/spec/rules", "value": split_rules(base, split, self.kind)})
        return self._patch(seen, operations)

    def put_back(self, seen: Obj, app: str) -> ApiRequest | None:
        """Make it say what it said before; where somebody has changed it since, only the canary leaves it."""
        note = _note_of(seen)
        if note is None or note["app"] != app:
            return None
        rules = note["rules"] if self._is_as_set(seen, note) else without(rules_of(seen), note["canary"])
        operations: list[Obj] = [{"op": "remove", "path": f"/metadata/annotations/{_ESCAPED}"}]
        operations.append({"op": "replace", "path": "/spec/rules", "value": rules})
        return self._patch(seen, operations)

    def read_back(self, seen: Obj, app: str) -> Reading:
        """What it says now, and whether those who serve it have taken it over."""
        because = not_accepted(seen)
        note = _note_of(seen)
        if note is None or note["app"] != app:
            return Reading(share=None, in_effect=not because, because=because)
        changed = not self._is_as_set(seen, note)
        return Reading(share=int(note["share"]), in_effect=not because, because=because, changed=changed)

    def _is_as_set(self, seen: Obj, note: Obj) -> bool:
        pins = tuple(Pin(by=by, name=name, value=value) for by, name, value in note["pins"])
        share = int(note["share"])
        split = Split(app=note["app"], stable=note["stable"], canary=note["canary"], share=share, pins=pins)
        wanted = split_rules(note["rules"], split, self.kind)
        return _plain(rules_of(seen)) == _plain(wanted)

    def _patch(self, seen: Obj, operations: list[Obj]) -> ApiRequest:
        guard: Obj = {"op": "test", "path": "/metadata/resourceVersion", "value": version_of(seen)}
        return ApiRequest(
            method="PATCH",
            path=self.path(namespace_of(seen), name_of(seen)),
            query={"fieldManager": _MANAGER},
            body=[guard, *operations],
            content_type=JSON_PATCH,
        )


def rules_of(seen: Obj) -> list[Obj]:
    """spec.rules."""
    return list((seen.get("spec") or {}).get("rules") or [])


def owner_of(seen: Obj) -> str:
    """Who would put the rules back: an owner that controls it, or who applies them; "" for nobody."""
    for one in seen["metadata"].get("ownerReferences") or []:
        if one.get("controller"):
            return f"{one.get('kind')} {one.get('name')}"
    for entry in seen["metadata"].get("managedFields") or []:
        fields = (entry.get("fieldsV1") or {}).get("f:spec") or {}
        manager = str(entry.get("manager"))
        # Who applies by hand is a person that sees what a release does; kubectl has no loop.
        if entry.get("operation") == "Apply" and manager not in {_MANAGER, "kubectl"} and "f:rules" in fields:
            return f"{manager} (server-side apply)"
    return ""


def not_accepted(seen: Obj) -> str:
    """Why a route is not in effect as it is now, "" where each of its parents has taken it over."""
    generation = int(seen["metadata"].get("generation") or 0)
    parents = (seen.get("status") or {}).get("parents") or []
    if not parents:
        return "no gateway has taken it over"
    for parent in parents:
        name = (parent.get("parentRef") or {}).get("name")
        found = {one.get("type"): one for one in parent.get("conditions") or []}
        for kind in ("Accepted", "ResolvedRefs"):
            one = found.get(kind)
            if one is None:
                return f"{name} has not said {kind}"
            if int(one.get("observedGeneration") or 0) < generation:
                return f"{name} has not taken over its newest change"
            if one.get("status") != "True":
                return f"{name} says {kind} {one.get('status')}: {one.get('reason')}, {one.get('message')}"
    return ""


def split_rules(base: list[Obj], split: Split, kind: str = "HTTPRoute") -> list[Obj]:
    """The rules with this split in each that names the stable Service. Refused where it cannot be said exactly."""
    found: list[Obj] = []
    for rule in base:
        if not _mentions(rule, split.stable):
            found.append(copy_of(rule))
            continue
        found.extend(_pinned(rule, split, pin) for pin in split.pins)
        found.append({**copy_of(rule), "backendRefs": weighted(rule["backendRefs"], split)})
    if len(found) > MOST_RULES:
        raise Refused(
            f"{kind} would have {len(found)} rules; the API allows {MOST_RULES}",
            remedy="pin fewer headers and cookies, or split the route in two",
        )
    return found


def weighted(refs: list[Obj], split: Split) -> list[Obj]:
    """backendRefs with exact weights: the stable Service's part is divided, all others keep their proportion."""
    parts: list[tuple[Obj, int]] = []
    for ref in refs:
        weight = int(ref.get("weight", 1))
        if not _is_service(ref, split.stable):
            parts.append((ref, weight * WHOLE))
            continue
        parts.append((ref, weight * (WHOLE - split.share)))
        parts.append(({**ref, "name": split.canary}, weight * split.share))
    common = math.gcd(*(weight for _, weight in parts)) or 1
    most = max(weight // common for _, weight in parts)
    if most > MOST_WEIGHT:
        raise Refused(
            f"a share of {percent(split.share)} needs a weight of {most}; the API allows {MOST_WEIGHT}",
            remedy="choose weights of the other backends that have more in common, or a rounder share",
        )
    return [{**copy_of(ref), "weight": weight // common} for ref, weight in parts]


def without(rules: list[Obj], service: str) -> list[Obj]:
    """The rules without one Service; a rule that led nowhere else goes with it."""
    found = []
    for rule in rules:
        refs = rule.get("backendRefs") or []
        kept = [ref for ref in refs if not _is_service(ref, service)]
        if len(kept) < len(refs) and not kept:
            continue
        found.append({**rule, "backendRefs": kept} if len(kept) < len(refs) else rule)
    return found


def _pinned(rule: Obj, split: Split, pin: Pin) -> Obj:
    """The rule for pinned requests: its own matches, each with the header; more headers match first."""
    header: Obj = {"type": "Exact", "name": pin.name, "value": pin.value}
    if pin.by == "cookie":
        value = f"(.*;)? *{re.escape(pin.name)}={re.escape(pin.value)} *(;.*)?"
        header = {"type": "RegularExpression", "name": "Cookie", "value": value}
    # No headers of one name twice: the API takes the first alone.
    matches = [
        {**match, "headers": [*(match.get("headers") or []), dict(header)]}
        for match in (copy_of({"m": rule.get("matches") or [{}]}))["m"]
        if all(str(one["name"]).lower() != header["name"].lower() for one in match.get("headers") or [])
    ]
    refs = [ref for ref in rule["backendRefs"] if _is_service(ref, split.stable)]
    if not matches or len(matches) > MOST_MATCHES:
        raise Refused(
            f"the rule already matches by header {header['name']}: it cannot be pinned by that",
            remedy="pin by another header or cookie",
        )
    made = {key: copy_of({"v": value})["v"] for key, value in rule.items() if key != "name"}
    return {**made, "matches": matches, "backendRefs": [{**copy_of(refs[0]), "name": split.canary, "weight": 1}]}


def _check_weights(rule: Obj, said: str, stable: str) -> None:
    refs = rule.get("backendRefs") or []
    if sum(int(ref.get("weight", 1)) for ref in refs) == 0:
        raise Refused(
            f"{said}: the weights of a rule that leads to Service {stable} sum up to 0, so it answers 500",
            remedy="give its backends weights",
        )
    if not any(int(ref.get("weight", 1)) for ref in refs if _is_service(ref, stable)):
        raise Refused(f"{said}: Service {stable} has weight 0 in it", remedy="give it the traffic that is to be split")


def _mentions(rule: Obj, service: str) -> bool:
    return any(_is_service(ref, service) for ref in rule.get("backendRefs") or [])


def _is_service(ref: Obj, name: str) -> bool:
    """Whether a backendRef leads to this Service of the route's own namespace."""
    return (
        ref.get("name") == name
        and ref.get("kind", "Service") == "Service"
        and not ref.get("group")
        and not ref.get("namespace")
    )


def _note_of(seen: Obj) -> Obj | None:
    text = annotations_of(seen).get(ANNOTATION)
    if text is None:
        return None
    try:
        note: Obj = json.loads(text)
        assert {"app", "canary", "stable", "share", "rules", "pins"} <= note.keys(), "something is missing"
        return note
    except (ValueError, AttributeError, AssertionError) as error:
        raise Conflict(
            f"the annotation {ANNOTATION} of route {name_of(seen)} cannot be read ({error})",
            remedy="another version of segue or a hand wrote it: finish with that version, or restore the route",
        ) from error


def _plain(rules: list[Obj]) -> list[Obj]:
    """Rules without what the server fills in, so that what was sent and what is stored are one."""
    return [_without_defaults(rule) for rule in rules]


def _without_defaults(rule: Obj) -> Obj:
    refs = [{"group": "", "kind": "Service", "weight": 1, **ref} for ref in rule.get("backendRefs") or []]
    root = {"path": {"type": "PathPrefix", "value": "/"}}
    matches = []
    for match in rule.get("matches") or [root]:
        headers = [{"type": "Exact", **one} for one in match.get("headers") or []]
        matches.append({**root, **match, **({"headers": headers} if headers else {})})
    return {**rule, "backendRefs": refs, "matches": matches}
