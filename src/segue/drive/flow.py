"""How a sans-IO flow asks its body for things: it yields an `Ask` and is sent an `Answer`.

Rule: every answer carries the time, so that nobody in here needs a clock.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar

from segue.analysis.values import Analysis, Hook, Sample
from segue.drain.samples import ProcText
from segue.drain.told import Word
from segue.model.errors import ClusterUnreachable, Forbidden, StatusError
from segue.model.http import ApiRequest, ApiResponse
from segue.model.objects import Obj
from segue.release.snapshot import Checked

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Calls:
    """API calls that may run side by side; their responses come in this order."""

    requests: tuple[ApiRequest, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """A container to look from; `whole`: who is connected, too, which costs a walk through all sockets of the node."""

    pod: str
    container: str
    whole: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadPods:
    """What each pod's network files say now (one long exec per pod): a word where that cannot be had, nothing where the
    answer is not there yet."""

    namespace: str
    looks: tuple[Look, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AskWords:
    """What apps and Prometheus tell of pods (by name): texts as of `ReadPods`."""

    words: Mapping[str, Word]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """The user's own check: begun where it does not run; how it ended, once it has. `facts` are its environment."""

    hook: Hook
    facts: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """What the sources of an analysis have said since this stage was first asked for; without one they are let go.

    `old_facts` are the same of the old version, for what compares.
    """

    analysis: Analysis | None
    stage: int = 0
    facts: Mapping[str, str] = field(default_factory=dict)
    old_facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sleep:
    """Wait."""

    for_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Something a person may want to see; `action` is "" for a wait."""

    because: str
    action: str = ""
    barrier: str = ""
    ready: Mapping[str, int] = field(default_factory=dict)  # Ready pods by version


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of the last ask."""

    now_s: float
    responses: tuple[ApiResponse, ...] = ()
    texts: Mapping[str, ProcText | str] = field(default_factory=dict)
    checked: Checked | None = None  # None while it runs
    samples: Mapping[str, Sample] = field(default_factory=dict)  # by the name of the metric


Ask: TypeAlias = Calls | ReadPods | AskWords | Check | Measure | Sleep | Progress
Flow: TypeAlias = Generator[Ask, Answer, T]


def body_of(response: ApiResponse, what: str = "") -> Obj:
    """The object of a good answer; any other is raised as what it means."""
    if response.code < 400:
        return response.body
    raise error_of(response, what)


def error_of(response: ApiResponse, what: str = "") -> StatusError | Forbidden | ClusterUnreachable:
    """What a refusal means."""
    message = str(response.body.get("message") or f"HTTP {response.code}")
    if what:
        message = f"{what}: {message}"
    match response.code:
        case 401:
            return ClusterUnreachable(
                f"the API server does not know who we are ({message})",
                remedy="log in again, or check the user of the kubeconfig's context",
            )
        case 403:
            return Forbidden(
                message, remedy="ask for a role that allows it; docs/reference/plan.md lists what segue needs"
            )
        case 404 if not response.body.get("reason"):
            return ClusterUnreachable(
                f"what answers is no Kubernetes API ({message})", remedy="check the server address of the kubeconfig"
            )
        case _:
            reason = str(response.body.get("reason") or "")
            return StatusError(response.code, reason, message, response.body.get("details") or {})


def ask(*requests: ApiRequest) -> Flow[tuple[float, tuple[ApiResponse, ...]]]:
    """Make calls; the time and their responses."""
    answer = yield Calls(requests=requests)
    assert len(answer.responses) == len(requests)
    return answer.now_s, answer.responses


def get(path: str, **query: str) -> ApiRequest:
    """A GET."""
    return ApiRequest(method="GET", path=path, query=query)
