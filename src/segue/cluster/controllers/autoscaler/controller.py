"""The HorizontalPodAutoscaler controller: every 15 s as many pods as metrics ask for, by the target's scale (A1-A3).

Rule 1: it looks at once at a new autoscaler and at a changed spec, else at its own pace; pods do not wake it.
Rule 2: below `minReplicas` and above `maxReplicas` no metric is asked; a target that somebody set to 0 is left alone.
Past recommendations are kept here (see `limits`): the one memory that a controller has.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from segue.cluster.controllers.autoscaler.computing import Computed, Scale, compute
from segue.cluster.controllers.autoscaler.limits import Past, Wish, allowed
from segue.cluster.controllers.autoscaler.samples import PodUsages
from segue.cluster.controllers.autoscaler.status import RESOURCE, Draft, draft_of
from segue.cluster.controllers.contract import NOTHING, Refusal
from segue.cluster.kinds import KINDS, Kind
from segue.cluster.scale import scale_of, selector_text
from segue.cluster.store import StoreEvent
from segue.cluster.view import View
from segue.cluster.writes import Outcome, Rescale, Update, Write
from segue.model.objects import Obj, Ref, label_selector_matches, labels_of, name_of, namespace_of, rfc3339

SYNC_S = 15.0  # kube-controller-manager --horizontal-pod-autoscaler-sync-period
_UNABLE = "the HPA controller was unable to get the target's current scale: "


class _Lost(Exception):
    """The target has no scale that could be read: Kubernetes' words for why."""


class HorizontalPodAutoscalerController:
    """Scales what an autoscaler points at."""

    name = "horizontalpodautoscaling"

    def __init__(self, usages: PodUsages) -> None:
        self._usages = usages
        self._past: dict[Ref, Past] = {}

    def keys(self, view: View, event: StoreEvent) -> Iterable[Ref]:
        """An autoscaler that is new, changed or gone."""
        if event.ref.resource != RESOURCE:
            return []
        same = event.before is not None and _generation(event.before) == _generation(event.obj)
        return [] if same and event.kind == "MODIFIED" else [event.ref]

    def reconcile(self, view: View, ref: Ref, now_s: float) -> Outcome:
        """One sync."""
        scaler = view.get(ref)
        if scaler is None:
            self._past.pop(ref, None)
            return NOTHING
        draft = draft_of(scaler, now_s)
        try:
            target, kind = _target(view, scaler)
        except _Lost as error:
            draft.warn("FailedGetScale", str(error))
            draft.set("AbleToScale", holds=False, reason="FailedGetScale", message=f"{_UNABLE}{error}")
            return _outcome(draft, (), draft.status(), f"{error}")
        message = "the HPA controller was able to get the target's current scale"
        draft.set("AbleToScale", holds=True, reason="SucceededGetScale", message=message)
        current = int(target["spec"].get("replicas", 0))
        past = self._past.setdefault(ref, Past(recommendations=[(now_s, current)]))
        decision = self._decide(view, draft, target, past)
        metrics = decision.computed.statuses
        if decision.replicas is None:
            draft.warn("FailedComputeMetricsReplicas", decision.computed.trouble)
            status = draft.status(current=current, metrics=metrics)
            return _outcome(draft, (), status, decision.computed.trouble)
        if decision.replicas == current:
            status = draft.status(current=current, desired=current, metrics=metrics)
            return _outcome(draft, (), status, decision.because)
        _tell_of(draft, current, decision)
        if scaler["spec"].get("behavior") is not None:
            past.changes.append((now_s, decision.replicas - current))
        scale = scale_of(target)
        scale["spec"]["replicas"] = decision.replicas
        del scale["metadata"]["resourceVersion"]  # whoever wrote in between is overruled, as upstream's retries do
        status = draft.status(current=current, desired=decision.replicas, metrics=metrics)
        status["lastScaleTime"] = rfc3339(now_s)
        return _outcome(draft, (Rescale(resource=kind.resource, scale=scale),), status, decision.because)

    def refused(self, view: View, ref: Ref, refusal: Refusal) -> tuple[Write, ...]:
        """A scale that may not be changed is said, and no change is remembered."""
        scaler = view.get(ref)
        if scaler is None or not isinstance(refusal.write, Rescale):
            return ()
        past = self._past.get(ref)
        if past is not None and past.changes and past.changes[-1][0] == refusal.now_s:
            past.changes.pop()
        draft = draft_of(scaler, refusal.now_s)
        size, error = refusal.write.scale["spec"]["replicas"], refusal.error.message
        draft.warn("FailedRescale", f"New size: {size}; error: {error}")
        message = f"the HPA controller was unable to update the target scale: {error}"
        draft.set("AbleToScale", holds=False, reason="FailedUpdateScale", message=message)
        return (*draft.said, Update(resource=RESOURCE, obj={**scaler, "status": draft.status()}, status=True))

    def _decide(self, view: View, draft: Draft, target: Obj, past: Past) -> _Decision:
        """How many pods there should be, and why."""
        spec, current = draft.scaler["spec"], int(target["spec"].get("replicas", 0))
        least, most = int(spec.get("minReplicas", 1)), int(spec["maxReplicas"])
        if current == 0:
            message = "scaling is disabled since the replica count of the target is zero"
            draft.set("ScalingActive", holds=False, reason="ScalingDisabled", message=message)
            return _Decision(replicas=0, because=message)
        if current > most:
            return _Decision(replicas=most, because="Current number of replicas above Spec.MaxReplicas")
        if current < least:
            return _Decision(replicas=least, because="Current number of replicas below Spec.MinReplicas")
        computed = self._computed(view, draft, target, current)
        if computed.replicas is None:
            return _Decision(replicas=None, computed=computed)
        wish = Wish(current=current, desired=computed.replicas, least=least, most=most, now_s=draft.now_s)
        found = allowed(wish, spec.get("behavior"), past)
        draft.set("AbleToScale", holds=True, reason=found.able[0], message=found.able[1])
        draft.set("ScalingLimited", holds=found.limited, reason=found.limit[0], message=found.limit[1])
        because = ""  # the metrics ask for what there is: only a bound or a window may want another number
        if computed.replicas != current:
            below = computed.replicas < current
            because = "All metrics below target" if below else f"{computed.asked_by} above target"
        return _Decision(replicas=found.replicas, because=because, computed=computed)

    def _computed(self, view: View, draft: Draft, target: Obj, current: int) -> Computed:
        """What the metrics of the target's pods come to; nothing where its selector is shared with another target."""
        selector = target["spec"].get("selector") or {}
        if not selector_text(selector):
            draft.warn("SelectorRequired", "selector is required")
            message = "the HPA target's scale is missing a selector"
            draft.set("ScalingActive", holds=False, reason="InvalidSelector", message=message)
            return Computed(replicas=None, trouble="selector is required")
        pods = _selected(view, target)
        others = _scalers_of(view, draft.scaler, pods)
        if len(others) > 1:
            those = f"pods by selector {selector_text(selector)}"
            message = f"{those} are controlled by more than one HPA (e.g. [{' '.join(others)}])"
            draft.warn("AmbiguousSelector", message)
            draft.set("ScalingActive", holds=False, reason="AmbiguousSelector", message=message)
            return Computed(replicas=None, trouble=message)
        return compute(draft, pods, Scale(replicas=current, selector=selector_text(selector)), self._usages)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Decision:
    """How many pods there should be; None where nothing follows from the metrics."""

    replicas: int | None
    because: str = ""
    computed: Computed = field(default_factory=lambda: Computed(replicas=None))


def _tell_of(draft: Draft, current: int, decision: _Decision) -> None:
    """What is said of a change of size."""
    size = decision.replicas
    message = f"the HPA controller was able to update the target scale to {size}"
    draft.set("AbleToScale", holds=True, reason="SucceededRescale", message=message)
    draft.tell("SuccessfulRescale", f"New size: {size}; reason: {decision.because}")
    message = "the HPA controller did not scale the workload to zero"
    draft.set("ScaledToZero", holds=False, reason="NotScaledToZero", message=message)


def _outcome(draft: Draft, writes: tuple[Write, ...], status: Obj, because: str) -> Outcome:
    """The writes in their order: the scale first, for the rest says that it was changed."""
    told = () if status == draft.scaler.get("status") else (_with_status(draft.scaler, status),)
    return Outcome(writes=(*writes, *draft.said, *told), because=because, wake_in_s=SYNC_S)


def _with_status(scaler: Obj, status: Obj) -> Update:
    return Update(resource=RESOURCE, obj={**scaler, "status": status}, status=True)


def _target(view: View, scaler: Obj) -> tuple[Obj, Kind]:
    """What the autoscaler points at; whichever version it names, the kind decides."""
    reference = scaler["spec"]["scaleTargetRef"]
    group = str(reference.get("apiVersion") or "").rpartition("/")[0]
    kind = next((one for one in KINDS if (one.group, one.kind) == (group, reference["kind"])), None)
    if kind is None:
        raise _Lost(f'no matches for kind "{reference["kind"]}" in group "{group}"')
    if not kind.scale:
        raise _Lost("the server could not find the requested resource")
    name = str(reference["name"])
    found = view.get(Ref(resource=kind.resource, namespace=namespace_of(scaler), name=name))
    if found is None:
        raise _Lost(f'{kind.resource} "{name}" not found')
    return found, kind


def _selected(view: View, target: Obj) -> list[Obj]:
    selector = target["spec"]["selector"]
    if "matchLabels" not in selector and "matchExpressions" not in selector:  # as a ReplicationController has it
        selector = {"matchLabels": selector}
    return [
        pod for pod in view.all_of("pods", namespace_of(target)) if label_selector_matches(selector, labels_of(pod))
    ]


def _scalers_of(view: View, scaler: Obj, pods: list[Obj]) -> list[str]:
    """The autoscalers whose targets select one of these pods, as messages name them; the first two are enough."""
    found = []
    names = {name_of(pod) for pod in pods}
    for other in view.all_of(RESOURCE, namespace_of(scaler)):
        try:
            target, _ = _target(view, other)
        except _Lost:
            continue
        if target["spec"].get("selector") and names & {name_of(pod) for pod in _selected(view, target)}:
            found.append(f"{namespace_of(other)}/{name_of(other)}")
    return found[:2]


def _generation(scaler: Obj) -> int:
    return int(scaler["metadata"].get("generation", 1))
