"""What sources answer, read: commands' output, Prometheus' JSON, HTTP answers. `Silence` is what says nothing.

Rule: an answer that is not understood is Silence with the reason, never a good or a bad one.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

from segue.analysis.counting import Series
from segue.analysis.values import PrometheusSource
from segue.model.objects import Obj

SAID_MAX = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """Nothing was learned, and why."""

    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """A trial that was good or bad, or readings of counters."""

    trial: bool | None = None
    counters: dict[str, Series] | None = None


def from_command(code: int, output: str) -> Heard | Silence:
    """The counts it prints in its last line, else exit code 0 or 1 as one trial. Other codes are its own trouble."""
    lines = output.strip().splitlines()
    last = lines[-1].strip() if lines else ""
    if code not in {0, 1}:
        return Silence(because=f"exit code {code}: {last[:SAID_MAX] or 'no output'}")
    if not last.startswith("{"):
        return Heard(trial=code == 0)
    try:
        found = json.loads(last)
        counts = {key: float(found[key]) for key in ("good", "bad")}
    except (ValueError, TypeError, KeyError):
        return Silence(because=f'not {{"good": n, "bad": n}}: {last[:SAID_MAX]}')
    if not all(math.isfinite(count) and count >= 0 for count in counts.values()):
        return Silence(because=f"not counts: {last[:SAID_MAX]}")
    return Heard(counters={key: {"": count} for key, count in counts.items()})


def is_good_answer(status: int, body: str, *, wanted: int, contains: str) -> bool:
    """Whether an HTTP answer is what is wanted."""
    return (status == wanted if wanted else 200 <= status < 400) and contains in body


def series_from(body: Obj) -> Series | Silence:
    """The series of an instant query's answer, by their labels."""
    if body.get("status") != "success":
        return Silence(because=f"Prometheus: {body.get('error') or 'not an answer of its API'}")
    data = body.get("data") or {}
    try:
        if data["resultType"] == "scalar":
            rows: list[tuple[Obj, list[object]]] = [({}, data["result"])]
        elif data["resultType"] == "vector":
            rows = [(row["metric"], row["value"]) for row in data["result"]]
        else:
            return Silence(because=f"the query gives a {data['resultType']}, not a vector or a scalar")
        return {json.dumps(labels, sort_keys=True): float(str(value[1])) for labels, value in rows}
    except (KeyError, IndexError, TypeError, ValueError) as error:
        return Silence(because=f"Prometheus: an answer that cannot be read ({error})")


def from_prometheus(source: PrometheusSource, answers: dict[str, Series]) -> Heard | Silence:
    """What all queries of a source say together."""
    if any(math.isnan(value) or math.isinf(value) for series in answers.values() for value in series.values()):
        return Silence(because="a query gives no number (NaN or Inf)")
    if "value" in answers:
        return _trial(source, answers["value"])
    # No bad one yet is no series of bad ones; without any of the others nothing is measured.
    empty = [name for name in source.queries if not answers[name]]
    if len(empty) == len(answers) or "total" in empty:
        return Silence(because=f"no series for {' and '.join(empty)}: {source.queries[empty[-1]]}")
    return Heard(counters=answers)


def _trial(source: PrometheusSource, series: Series) -> Heard | Silence:
    if len(series) != 1:
        what = "no series" if not series else f"{len(series)} series, not one"
        return Silence(because=f"{what}: {source.value}")
    (value,) = series.values()
    good = (source.below is None or value < source.below) and (source.above is None or value > source.above)
    return Heard(trial=good)
