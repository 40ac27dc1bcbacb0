"""The file that says what is measured at each stop, and the Job a check runs, read from text.

Rule 1: whatever is off is a ManifestError with file, line, path and remedy, before anything is measured.
Rule 2: never reads a file itself, and never resolves what a Job's own file says: the bodies and the API server do.
"""

from __future__ import annotations

import re
from typing import TypeVar

import msgspec

from segue.analysis.values import (
    ASK_TIMEOUT_S,
    MINIMUM,
    TIMEOUT_S,
    Analysis,
    CommandSource,
    Hook,
    HttpSource,
    LoadSource,
    Metric,
    PrometheusSource,
    Source,
)
from segue.model.errors import ManifestError
from segue.model.manifest import Document, parse, parse_mapping
from segue.model.objects import Obj

_AT = re.compile(r"^(.*?)(?: - at `(\$.*)`)?$", re.DOTALL)
_SECONDS = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)?")
_UNITS = {"ms": 0.001, "": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}
_SHARE = re.compile(r"(\d+(?:\.\d+)?)\s*(%?)")
T = TypeVar("T")


class _Check(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    command: str = ""
    http: str = ""
    job: str = ""
    status: int = 0
    contains: str = ""
    timeout: str | float | None = None


class _Http(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    url: str
    status: int = 0
    contains: str = ""


class _Prometheus(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    url: str
    good: str = ""
    bad: str = ""
    total: str = ""
    value: str = ""
    below: float | None = None
    above: float | None = None
    token_from: str = ""


class _Load(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    url: str
    rate: float = 20.0
    slower_than: str | float | None = None
    version: str = ""


class _Metric(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    name: str
    command: str = ""
    http: _Http | None = None
    prometheus: _Prometheus | None = None
    load: _Load | None = None
    bad_at_most: str | float | None = None
    worse_at_most: str | float | None = None
    minimum: int = MINIMUM


class _File(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    metrics: list[_Metric] = []
    checks: list[_Check] = []
    risk: str | float = "5%"
    every: str | float = "5s"
    at_least: str | float = 0.0
    at_most: str | float = "10m"


def read_analysis(text: str, *, file: str) -> Analysis:
    """The analysis a file describes; manifests of its Jobs are still to be read."""
    document = parse_mapping(text, file=file)
    try:
        said = msgspec.convert(document.obj, _File)
    except msgspec.ValidationError as error:
        found = _AT.match(str(error))
        assert found is not None
        raise _off(document, found[2] or "$", found[1], "docs/reference/analysis.md lists the fields") from error
    if not said.metrics and not said.checks:
        raise _off(document, "$", "it has neither metrics nor checks", "say what is to be measured")
    analysis = Analysis(
        metrics=tuple(_metric(document, f"$.metrics[{number}]", one) for number, one in enumerate(said.metrics)),
        hooks=tuple(_hook(document, f"$.checks[{number}]", one) for number, one in enumerate(said.checks)),
        risk=_share(document, "$.risk", said.risk, "risk"),
        every_s=_seconds(document, "$.every", said.every),
        least_s=_seconds(document, "$.atLeast", said.at_least),
        most_s=_seconds(document, "$.atMost", said.at_most),
    )
    names = [metric.name for metric in analysis.metrics]
    for number, name in enumerate(names):
        if not name or name in names[:number]:
            why = f"the name {name!r} stands twice" if name else "a metric without a name"
            raise _off(document, f"$.metrics[{number}].name", why, "give each metric a name of its own")
    if analysis.every_s < 0.1:
        raise _off(document, "$.every", "sources are asked at most 10 times a second", "for example every: 5s")
    if analysis.most_s <= analysis.least_s:
        raise _off(document, "$.atMost", "atMost must be longer than atLeast", "for example atMost: 10m")
    return analysis


def read_job(text: str, *, file: str) -> Obj:
    """The Job of a check."""
    documents = parse(text, file=file)
    jobs = [one for one in documents if one.kind == "Job" and one.api_version.startswith("batch/")]
    if len(jobs) != 1 or len(documents) != 1:
        kinds = ", ".join(one.kind for one in documents) or "nothing"
        place = documents[0].place("kind") if documents else None
        raise ManifestError(
            f"a check needs one Job (this is {kinds})", place=place, remedy="one batch/v1 Job in a file"
        )
    (job,) = jobs
    if not isinstance((job.obj.get("spec") or {}).get("template"), dict):
        raise ManifestError("the Job has no pod template", place=job.place("spec.template"), remedy="say what it runs")
    return job.obj


def _off(document: Document, path: str, what: str, remedy: str) -> ManifestError:
    return ManifestError(what, place=document.place(path), remedy=remedy)


def _one_of(document: Document, path: str, ways: dict[str, T]) -> tuple[str, T]:
    said = [(name, way) for name, way in ways.items() if way]
    if len(said) != 1:
        why = f"both {said[0][0]} and {said[1][0]}" if said else "nothing to ask"
        raise _off(document, path, why, f"exactly one of {', '.join(ways)}")
    return said[0]


def _hook(document: Document, path: str, said: _Check) -> Hook:
    kind, text = _one_of(document, path, {"command": said.command, "http": said.http, "job": said.job})
    if kind != "http" and (said.status or said.contains):
        raise _off(document, path, f"status and contains are of http, not of {kind}", "leave them out")
    usual_s = {"http": ASK_TIMEOUT_S, "job": TIMEOUT_S, "command": 0.0}
    timeout_s = usual_s[kind] if said.timeout is None else _seconds(document, f"{path}.timeout", said.timeout)
    if kind == "command":
        return Hook(kind="command", text=text, timeout_s=timeout_s)
    if kind == "job":
        return Hook(kind="job", text=text, timeout_s=timeout_s)
    url = _url(document, f"{path}.http", text)
    return Hook(kind="http", text=url, timeout_s=timeout_s, status=said.status, contains=said.contains)


def _metric(document: Document, path: str, said: _Metric) -> Metric:
    if said.bad_at_most is None and said.worse_at_most is None:
        raise _off(document, path, "neither badAtMost nor worseAtMost", "say what is wanted, for example badAtMost: 1%")
    shares = {"badAtMost": said.bad_at_most, "worseAtMost": said.worse_at_most}
    limits = {
        key: None if share is None else _share(document, f"{path}.{key}", share, key) for key, share in shares.items()
    }
    if said.minimum < 1:
        raise _off(document, f"{path}.minimum", f"minimum is {said.minimum}", "nothing seen proves nothing: at least 1")
    source = _source(document, path, said)
    if said.worse_at_most is not None and not _knows_old(source):
        why = "this source does not tell the versions apart, so worseAtMost has nothing to compare with"
        remedy = "a load needs version; queries and commands need SEGUE_VERSION or SEGUE_PODS_PATTERN in their text"
        raise _off(document, f"{path}.worseAtMost", why, remedy)
    return Metric(
        name=said.name,
        source=source,
        bad_at_most=limits["badAtMost"],
        worse_at_most=limits["worseAtMost"],
        minimum=said.minimum,
    )


def _knows_old(source: Source) -> bool:
    match source:
        case LoadSource(version=version):
            return bool(version)
        case PrometheusSource():
            return any("SEGUE_" in query for query in source.queries.values())
        case HttpSource(url=url):
            return "SEGUE_" in url
        case CommandSource():
            return True  # a script may look at its environment


def _source(document: Document, path: str, said: _Metric) -> Source:
    ways = {"command": said.command, "http": said.http, "prometheus": said.prometheus, "load": said.load}
    _, way = _one_of(document, path, ways)
    match way:
        case _Http():
            url = _url(document, f"{path}.http.url", way.url)
            return HttpSource(url=url, status=way.status, contains=way.contains)
        case _Prometheus():
            return _prometheus(document, f"{path}.prometheus", way)
        case _Load():
            return _load(document, f"{path}.load", way)
        case _:
            return CommandSource(command=said.command)


def _prometheus(document: Document, path: str, said: _Prometheus) -> PrometheusSource:
    source = PrometheusSource(
        url=_url(document, f"{path}.url", said.url).rstrip("/"),
        good=said.good,
        bad=said.bad,
        total=said.total,
        value=said.value,
        below=said.below,
        above=said.above,
        token_from=said.token_from,
    )
    asked = set(source.queries)
    limited = said.below is not None or said.above is not None
    if asked == {"value"} and limited:
        return source
    if len(asked) != 2 or "value" in asked or limited:
        why = "the queries do not fit together"
        remedy = "two of good, bad and total; or value with below or above"
        raise _off(document, path, why, remedy)
    return source


def _load(document: Document, path: str, said: _Load) -> LoadSource:
    url = _url(document, f"{path}.url", said.url)
    if not url.startswith("http://"):
        raise _off(document, f"{path}.url", "the load does not speak TLS", "use an http:// URL")
    if not 0 < said.rate <= 10_000:
        raise _off(document, f"{path}.rate", f"rate is {said.rate:g} requests per second", "above 0, at most 10000")
    slower_s = 0.0 if said.slower_than is None else _seconds(document, f"{path}.slowerThan", said.slower_than)
    return LoadSource(url=url, rate=said.rate, slower_s=slower_s, version=said.version)


def _url(document: Document, path: str, text: str) -> str:
    if not re.fullmatch(r"https?://[^/\s]+\S*", text):
        raise _off(document, path, f"{text!r} is no http:// or https:// URL", "for example http://127.0.0.1:9090")
    return text


def _seconds(document: Document, path: str, said: str | float) -> float:
    found = _SECONDS.fullmatch(str(said).strip())
    if found is None:
        raise _off(document, path, f"{said!r} is no time", "for example 5s, 500ms or 10m")
    return float(found[1]) * _UNITS[found[2] or ""]


def _share(document: Document, path: str, said: str | float, name: str) -> float:
    found = _SHARE.fullmatch(str(said).strip())
    share = float(found[1]) / (100 if found[2] else 1) if found else 0.0
    if not 0 < share < 1:
        why = f"{name} is {said!r}, not a share between 0 % and 100 %"
        raise _off(document, path, why, "for example 1%; that nothing ever fails cannot be shown by measuring")
    return share
