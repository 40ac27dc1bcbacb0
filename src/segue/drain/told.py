"""What apps and Prometheus tell of a pod's traffic, where an annotation of its template says whom to ask.

    segue.dev/traffic: http://:8080/connections           of the app itself, through the API server (https: as well)
    segue.dev/traffic: prometheus:http://prometheus:9090  of a Prometheus, with these two series of it:
    segue.dev/traffic-active: http_requests_in_flight{pod="$SEGUE_POD"}
    segue.dev/traffic-accepted: http_requests_total{pod="$SEGUE_POD"}

`active` are requests or connections that must not be lost, now; `accepted` counts all that ever came.
Rule 1: an answer that is not understood is a word about why, never a number.
Rule 2: what Prometheus says is as old as its last scrape, whenever it is asked.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from string import Template

from segue.drain.samples import APP, PROMETHEUS, ProcText, Sample
from segue.model.objects import Obj

WORD = "segue.dev/traffic"
ACTIVE, ACCEPTED = f"{WORD}-active", f"{WORD}-accepted"
RANGE = "5m"  # of a series: two scrapes are in it, however rare they are
SCRAPES_MISSED_MAX = 2.5  # after so many intervals without a scrape Prometheus has lost the pod
FRESH_S_MAX = 90.0
_ENDPOINT = re.compile(r"(https?)://:(\d{1,5})(/\S*)?")
_SERVER = re.compile(r"prometheus:(https?://\S+)")
_SELECTOR = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*\s*(\{[^{}]*\})?|\{[^{}]*\}")
_NUMBER = re.compile(r"\d{1,15}(\.\d*)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """Whom to ask about one pod. `path`: below the API server, of an app; `url` and `queries`: of a Prometheus."""

    kind: str
    shown: str
    path: str = ""
    url: str = ""
    active: str = ""
    accepted: str = ""


def word_of(annotations: Mapping[str, str], *, pod: str, namespace: str) -> Word | str | None:
    """What a pod's annotations say; why it cannot be meant, where it cannot; None where they say nothing."""
    said = annotations.get(WORD, "").strip()
    if not said:
        return None
    if found := _ENDPOINT.fullmatch(said):
        scheme, port, path = found[1], found[2], found[3] or "/"
        target = f"{scheme}:{pod}:{port}" if scheme == "https" else f"{pod}:{port}"
        below = f"/api/v1/namespaces/{namespace}/pods/{target}/proxy{path}"
        return Word(kind=APP, shown=said, path=below)
    if found := _SERVER.fullmatch(said):
        facts = {"SEGUE_POD": pod, "SEGUE_NAMESPACE": namespace}
        series = [Template(annotations.get(key, "").strip()).safe_substitute(facts) for key in (ACTIVE, ACCEPTED)]
        for key, one in zip((ACTIVE, ACCEPTED), series, strict=True):
            if not _SELECTOR.fullmatch(one):
                return f"{key}: {one!r} is no series: write NAME{{label=...}}, without functions"
        return Word(kind=PROMETHEUS, shown=said, url=found[1].rstrip("/"), active=series[0], accepted=series[1])
    return f"{WORD}: {said!r} is neither http://:PORT/PATH nor prometheus:URL"


def heard(word: Word, text: ProcText) -> Sample | str:
    """The sample that an answer is, or what is wrong with it."""
    try:
        found = json.loads(text.text)
    except ValueError:
        return f"{word.shown} answers no JSON: {' '.join(text.text.split())[:80]!r}"
    if not isinstance(found, dict):
        return f"{word.shown} answers no JSON object"
    return _from_app(word, found, text) if word.kind == APP else _from_prometheus(word, found, text)


def _from_app(word: Word, found: Obj, text: ProcText) -> Sample | str:
    active, accepted = (_count(found.get(key)) for key in ("active", "accepted"))
    if active is None or accepted is None:
        return f'{word.shown} does not answer {{"active": n, "accepted": n}}'
    peers = found.get("peers")
    return Sample(
        at_s=text.asked_s,
        read_s=text.read_s,
        passive_opens=accepted,
        connections=(),
        source=APP,
        active=active,
        peers=tuple(str(peer) for peer in peers) if isinstance(peers, list) else (),
    )


def _count(value: object) -> int | None:
    """A whole number from 0 on, also as a string; a fraction is rounded up: half a request is one."""
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        return None
    return math.ceil(value)


def _from_prometheus(word: Word, found: Obj, text: ProcText) -> Sample | str:
    active = _newest(found.get("active"), f"{word.shown}: {word.active}")
    accepted = _newest(found.get("accepted"), f"{word.shown}: {word.accepted}")
    if isinstance(active, str):
        return active
    if isinstance(accepted, str):
        return accepted
    # Our clock and its clock may differ: nothing is newer than the moment at which it was asked for.
    at_s = min(active.at_s, accepted.at_s, text.asked_s)
    return Sample(
        at_s=at_s,
        read_s=at_s,
        passive_opens=math.ceil(accepted.value),
        connections=(),
        source=PROMETHEUS,
        active=math.ceil(active.value),
        fresh_s=min(FRESH_S_MAX, SCRAPES_MISSED_MAX * max(active.every_s, accepted.every_s) + 1.0),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scraped:
    value: float
    at_s: float
    every_s: float


def _newest(body: object, what: str) -> _Scraped | str:
    """The sum over a range query's series, as of the newest scrape."""
    if not isinstance(body, dict) or body.get("status") != "success":
        said = body.get("error") if isinstance(body, dict) else None
        return f"{what}: {said or 'no answer of the API of Prometheus'}"
    try:
        rows = [[(float(at), float(value)) for at, value in row["values"]] for row in body["data"]["result"]]
    except (KeyError, TypeError, ValueError):
        return f"{what}: no answer of the API of Prometheus"
    series = [row for row in rows if row]
    if not series:
        return f"{what}: no such series"
    value = sum(row[-1][1] for row in series)
    if not math.isfinite(value) or value < 0:
        return f"{what}: {value:g} is no count"
    moments = sorted({at for row in series for at, _ in row})
    every_s = moments[-1] - moments[-2] if len(moments) > 1 else FRESH_S_MAX
    return _Scraped(value=value, at_s=moments[-1], every_s=every_s)
