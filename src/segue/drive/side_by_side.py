"""A release into a Deployment of its own beside the one that serves: which these are, and what the manifest becomes.

Rule 1: everything is looked at and tried out before the first write, as for any release.
Rule 2: what the user wrote stays as it is but for the name, the version label, and the Services' version.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import partial

from segue.drive.around import look_around
from segue.drive.command import undo
from segue.drive.driver import Driver
from segue.drive.flow import Flow, ask, get
from segue.drive.loop import Outcome
from segue.drive.natives import propose_natives
from segue.drive.pair import find_beside, items_of
from segue.drive.prepare import Placed, check_service, locate, target_of, try_out
from segue.drive.proposing import Preparation, Proposal, check_free, prepare
from segue.model.errors import Conflict, ManifestError, Refused, UsageError
from segue.model.http import ApiRequest
from segue.model.images import tag_of
from segue.model.manifest import Document
from segue.model.natives import RELEASED
from segue.model.objects import Obj, annotations_of, copy_of, labels_of, name_of, selects
from segue.model.services import Service
from segue.model.workloads import Deployment
from segue.release.actions import PURPOSE
from segue.release.beside import Beside, Naming, concerns, label_of_app, pod_labels_of, version_of_app
from segue.release.conflicts import check_around
from segue.release.first import decide_first
from segue.release.memory import RAMPED, memory_of
from segue.release.namesakes import check_namesakes
from segue.release.plan import Plan, Target, make_plan, resume_plan
from segue.release.strategies import decide

_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What there is in a namespace, and what is wanted there."""

    namespace: str
    beside: Beside  # `old` is "" as long as it is not known
    deployments: tuple[Obj, ...]
    services: tuple[Service, ...]
    labels: dict[str, str]  # of the new pods

    def reached(self, obj: Obj) -> bool:
        """Whether a Service of the app selects the pods of this Deployment, and there are some."""
        labels = pod_labels_of(obj)
        return bool(obj["spec"].get("replicas", 1)) and any(
            selects(one.plain_selector, labels) and concerns(self.beside, one, self.labels) for one in self.services
        )


# -- what the manifest becomes -----------------------------------------------------------------------------------------


def version_said(document: Document, naming: Naming) -> str:
    """The version of a manifest: as said, else its own label, else the tag of its first image. ManifestError else."""
    template: Obj = (document.obj.get("spec") or {}).get("template") or {}
    labelled = str(labels_of(template).get(naming.label) or "")
    containers = (template.get("spec") or {}).get("containers") or [{}]
    found = naming.version or labelled or tag_of(str(containers[0].get("image") or ""))
    if _DNS_LABEL.fullmatch(found):
        return found
    path = f"spec.template.metadata.labels.{naming.label}" if labelled else "spec.template.spec.containers[0].image"
    slug = re.sub(r"[^a-z0-9]+", "-", found.lower()).strip("-")[:63].strip("-")
    raise ManifestError(
        f"version {found} is no DNS label, so Deployment {document.name} cannot be named after it"
        if found
        else "neither a label nor a tag names the version",
        place=document.place(path),
        remedy=f"name it: --version {slug or 'v2'}",
    )


def renamed(document: Document, beside: Beside) -> Document:
    """The manifest's Deployment as `$APP-$VERSION`, with the version label on its pods and in its selector."""
    obj = copy_of(document.obj)
    obj["metadata"]["name"] = beside.new
    spec: Obj = obj.setdefault("spec", {})
    label = {beside.label: beside.version}
    selector: Obj = spec.setdefault("selector", {})
    selector["matchLabels"] = {**(selector.get("matchLabels") or {}), **label}
    metadata: Obj = spec.setdefault("template", {}).setdefault("metadata", {})
    metadata["labels"] = {**(metadata.get("labels") or {}), **label}
    return replace(document, obj=obj)


def _with_selector(document: Document, beside: Beside, live: Service | None, *, shared: bool) -> Document:
    """A Service of the manifest: one that is there moves no traffic by this, a new one reaches the version."""
    obj = copy_of(document.obj)
    written: dict[str, str] = (obj.get("spec") or {}).get("selector") or {}
    common = beside.common(written)
    if live is None:
        obj["spec"]["selector"] = common if shared else beside.selects_new(written)
    elif beside.common(live.selector) == common:
        obj["spec"]["selector"] = live.plain_selector
    return replace(document, obj=obj)


# -- preparation -------------------------------------------------------------------------------------------------------


def prepare_either(documents: tuple[Document, ...], namespace: str, driver: Driver) -> Flow[Preparation]:
    """Side by side where that was asked for, else in place."""
    if driver.approach.naming is not None:
        return (yield from prepare_beside(documents, namespace, driver))
    preparation = yield from prepare(documents, namespace, driver)
    for proposal in preparation.deployments:
        serves = proposal.live is not None and bool(proposal.live["spec"].get("replicas", 1))
        if proposal.plan is None and not serves:
            yield from _check_not_versioned(proposal.placed)
    return preparation


def _check_not_versioned(placed: Placed) -> Flow[None]:
    """A Deployment by the app's own name would be one more, which no Service reaches."""
    name = placed.document.name
    _, (found,) = yield from ask(get(f"/apis/apps/v1/namespaces/{placed.namespace}/deployments"))
    if found.code == 403:
        return
    for obj in items_of(found, "Deployments"):
        if label_of_app(name, obj) and obj["spec"].get("replicas", 1):
            raise Refused(
                f"{name} is served by a Deployment of its own for each version, {name_of(obj)} now",
                remedy=f"add --side-by-side, or change it in place: segue release {name_of(obj)} --image NAME=TAG",
            )


def prepare_beside(documents: tuple[Document, ...], namespace: str, driver: Driver) -> Flow[Preparation]:
    """Try everything out and plan; raises what is wrong before anything is changed."""
    naming = driver.approach.naming
    assert naming is not None, "this is what it is for"
    wanted = [one for one in documents if one.kind == "Deployment"]
    if len(wanted) != 1:
        raise UsageError(
            f"--side-by-side is for one Deployment; the manifest has {len(wanted)}",
            remedy="give it one file after the other",
        )
    document = wanted[0]
    version = version_said(document, naming)
    new = f"{document.name}-{version}"
    beside = Beside(app=document.name, label=naming.label, version=version, new=new, old="")
    place = yield from _look(document, namespace, beside)
    ours = {one.name: one for one in place.services if concerns(beside, one, place.labels)}
    shared = driver.approach.strategy in RAMPED
    adapted = tuple(
        renamed(one, beside)
        if one is document
        else _with_selector(one, beside, ours.get(one.name), shared=shared)
        if one.kind == "Service" and _reaches(one, place)
        else one
        for one in documents
    )
    placed = yield from locate(adapted, namespace)
    tried: list[tuple[Placed, Obj | None, Obj]] = []
    for one in placed:
        live, answer = yield from try_out(one)
        tried.append((one, live, answer))
    templates = [answer["spec"]["template"] for one, _, answer in tried if one.document.kind == "Deployment"]
    templates += [obj["spec"]["template"] for obj in place.deployments]
    for one, live, _ in tried:
        if one.document.kind == "Service":
            check_service(one, live, templates, [])
    row = next(row for row in tried if row[0].document.kind == "Deployment")
    proposal = yield from _propose(place, row, driver)
    natives = yield from propose_natives(tried, driver)
    others = tuple(each for each in tried if each[0].document.kind not in RELEASED)
    return Preparation(deployments=(proposal,), others=others, natives=natives)


def _reaches(document: Document, place: Place) -> bool:
    selector: dict[str, str] = (document.obj.get("spec") or {}).get("selector") or {}
    return concerns(place.beside, Service(obj={"spec": {"selector": selector}}), place.labels)


def _look(document: Document, namespace: str, beside: Beside) -> Flow[Place]:
    where = document.namespace or namespace
    _, (deployments, services) = yield from ask(
        get(f"/apis/apps/v1/namespaces/{where}/deployments"), get(f"/api/v1/namespaces/{where}/services")
    )
    template: Obj = renamed(document, beside).obj["spec"]["template"]
    return Place(
        namespace=where,
        beside=beside,
        deployments=tuple(items_of(deployments, "Deployments")),
        services=tuple(Service(obj=obj) for obj in items_of(services, "Services")),
        labels=labels_of(template),
    )


def _propose(place: Place, row: tuple[Placed, Obj | None, Obj], driver: Driver) -> Flow[Proposal]:
    placed, live, wanted = row
    under_way = _under_way(place)
    if under_way is not None:
        return (yield from _going_on(under_way, row, driver))
    serving = [obj for obj in place.deployments if name_of(obj) != place.beside.new and place.reached(obj)]
    runs = live is not None and bool(live["spec"].get("replicas", 1))
    if not serving:
        _check_reached(place)
        if live is not None and live["spec"]["template"] != wanted["spec"]["template"]:
            raise _taken(place)
        beside = replace(place.beside, old=place.beside.new)
        note = "already at this version" if runs else "it is new: nothing can be lost"
        return Proposal(placed=placed, live=live, wanted=wanted, plan=None, note=note, beside=beside)
    if runs or len(serving) > 1:
        names = ", ".join(sorted({*map(name_of, serving), *([place.beside.new] if runs else [])}))
        raise Refused(
            f"the Services of {place.beside.app} reach pods of several Deployments: {names}",
            remedy="which of them is the old version must be plain: scale or delete the others",
        )
    plan = yield from _plan(place, Deployment(obj=serving[0]), row, driver)
    return Proposal(placed=placed, live=live, wanted=wanted, plan=plan, beside=plan.beside)


def _check_reached(place: Place) -> None:
    """Nothing else serves: what is there must reach this version, or nobody would."""
    for service in place.services:
        if concerns(place.beside, service, place.labels) and not selects(service.plain_selector, place.labels):
            raise Refused(
                f"Service {service.name} selects {_said(service.plain_selector)}, and no pod of that serves",
                remedy="scale that version up, or correct the selector; then release",
            )


def _said(selector: dict[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in sorted(selector.items()))


def _taken(place: Place) -> Refused:
    beside = place.beside
    return Refused(
        f"version {beside.version} serves already, as Deployment {beside.new} with another template",
        remedy=f"name this one --version NAME, or change it in place: segue release {beside.new} --image NAME=TAG",
    )


def _under_way(place: Place) -> Beside | None:
    for obj in place.deployments:
        memory = memory_of(annotations_of(obj))
        if memory is None or not memory.beside:
            continue
        beside = Beside.of(memory.beside)
        if beside.app != place.beside.app:
            continue
        if beside.new != place.beside.new:
            raise Conflict(
                f"a release of {beside.app} to version {beside.version} is under way",
                remedy=f"finish it with its own manifest, or take it back: segue abort {beside.app}",
            )
        return beside
    return None


def _going_on(beside: Beside, row: tuple[Placed, Obj | None, Obj], driver: Driver) -> Flow[Proposal]:
    placed, live, wanted = row
    assert live is not None, "what is under way lies on it"
    snapshot = yield from driver.observer(placed.namespace, beside.app, beside).observe()
    memory = snapshot.memory
    target = replace(target_of(placed.document, Deployment(obj=live), wanted), kind="release")
    check_free(snapshot, memory, target, driver.approach)
    assert memory is not None, "nobody else drives"
    plan = resume_plan(target, snapshot, memory, driver.approach)
    return Proposal(placed=placed, live=live, wanted=wanted, plan=plan, note="it goes on", resumes=True, beside=beside)


def _plan(place: Place, old: Deployment, row: tuple[Placed, Obj | None, Obj], driver: Driver) -> Flow[Plan]:
    placed, live, wanted = row
    target = target_of(placed.document, Deployment(obj=live or wanted), wanted)
    if (placed.document.obj.get("spec") or {}).get("replicas") is None:
        target = replace(target, after={**target.after, "replicas": old.replicas})
    return (yield from plan_beside(place, old, driver, target=target, body=_body(placed)))


def plan_beside(place: Place, old: Deployment, driver: Driver, *, target: Target, body: Obj) -> Flow[Plan]:
    """The plan from the Deployment that serves to the one beside it. Raises Refused."""
    snapshot = yield from driver.observer(place.namespace, old.name).observe()
    if snapshot.memory is not None:
        raise Conflict(
            f"a {snapshot.memory.kind} of Deployment {old.name} is under way",
            remedy=f"finish it, or take it back: segue abort {old.name}",
        )
    plan = make_plan(target, snapshot, driver.approach)
    naming = driver.approach.naming or Naming(label=place.beside.label)
    beside = replace(
        place.beside,
        old=old.name,
        delete_old=naming.delete_old,
        selectors={one.name: one.plain_selector for one in snapshot.services if one.name in plan.services},
        total=plan.replicas,
    )
    yield from _check_rights(place.namespace)
    around = yield from look_around(place.namespace)
    warnings = (
        *plan.warnings,
        *check_around(plan, snapshot, around),
        *check_namesakes(plan, beside, old, place.labels, around),
    )
    return replace(plan, deployment=beside.app, beside=beside, body=body, warnings=warnings)


def _check_rights(namespace: str) -> Flow[None]:
    """That we may make a Deployment, and take it back. Nothing where the cluster does not say."""
    for verb in ("create", "delete"):
        wish = {"namespace": namespace, "verb": verb, "group": "apps", "resource": "deployments"}
        body: Obj = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": wish},
        }
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        _, (answer,) = yield from ask(ApiRequest(method="POST", path=path, body=body))
        if answer.code == 201 and not (answer.body.get("status") or {}).get("allowed", True):
            raise Refused(
                f"this account may not {verb} Deployments, which a release side by side does",
                remedy="examples/rbac/releaser.yaml has the role",
            )


# -- undo --------------------------------------------------------------------------------------------------------------


def undo_either(namespace: str, name: str, revision: int | None, driver: Driver) -> Flow[Outcome]:
    """Back to the version that an app has kept at 0 beside the one that serves; of any other name an undo in place."""
    under_way = yield from find_beside(namespace, name)
    if isinstance(under_way, Beside) and under_way.new != under_way.old:
        return (yield from _undo_going_on(namespace, under_way, driver))
    _, (found, services) = yield from ask(
        get(f"/apis/apps/v1/namespaces/{namespace}/deployments"), get(f"/api/v1/namespaces/{namespace}/services")
    )
    deployments = items_of(found, "Deployments")
    versions = [obj for obj in deployments if label_of_app(name, obj)]
    serving = [obj for obj in versions if obj["spec"].get("replicas", 1)]
    plain = [obj for obj in deployments if name_of(obj) == name]
    if not serving or any(obj["spec"].get("replicas", 1) for obj in plain):
        return (yield from undo(namespace, name, revision, driver))
    kept = [obj for obj in (*plain, *versions) if not obj["spec"].get("replicas", 1)]
    if len(serving) > 1 or not kept or revision is not None:
        raise _no_way_back(name, [name_of(obj) for obj in serving], revision)
    # The newest of those that were left: what was released last before this one.
    to = max(kept, key=lambda obj: str(obj["metadata"].get("creationTimestamp") or ""))
    label = label_of_app(name, serving[0])
    beside = Beside(app=name, label=label, version=version_of_app(name, label, to), new=name_of(to), old="", made=False)
    place = Place(
        namespace=namespace,
        beside=beside,
        deployments=tuple(deployments),
        services=tuple(Service(obj=obj) for obj in items_of(services, "Services")),
        labels=pod_labels_of(to),
    )
    return (yield from _undo(place, Deployment(obj=serving[0]), Deployment(obj=to), driver))


def _no_way_back(app: str, serving: list[str], revision: int | None) -> Refused:
    if revision is not None:
        return Refused(
            f"the versions of {app} are Deployments of their own, without a common revision",
            remedy=f"segue history {app} lists them; segue undo {app} goes back to the one before",
        )
    what = f"{', '.join(serving)} serve" if len(serving) > 1 else "no other version of it is kept"
    return Refused(f"{app} has no earlier version to go back to: {what}", remedy="release the manifest of that version")


def _undo(place: Place, serving: Deployment, to: Deployment, driver: Driver) -> Flow[Outcome]:
    here = Target(kind="undo", template=serving.template, after={}, metadata={})
    arrived = driver.observer(place.namespace, to.name, replace(place.beside, new=serving.name, old=to.name))
    snapshot = yield from arrived.observe()
    if snapshot.lease is not None and snapshot.lease.annotations.get(PURPOSE) == here.id and not snapshot.held_by:
        # An undo that died between its last two writes: it has arrived.
        timeout_s = driver.approach.timeout_s or 600.0
        first = partial(decide_first, snapshot.now_s + timeout_s, timeout_s)
        return (yield from driver.drive(arrived, first, driver.approach.policy))
    target = Target(kind="undo", template=to.template, after={}, metadata={})
    plan = yield from plan_beside(place, serving, driver, target=target, body={})
    observer = driver.observer(place.namespace, place.beside.app, plan.beside)
    return (yield from driver.drive(observer, partial(decide, plan), plan.policy))


def _undo_going_on(namespace: str, beside: Beside, driver: Driver) -> Flow[Outcome]:
    observer = driver.observer(namespace, beside.app, beside)
    snapshot = yield from observer.observe()
    memory = snapshot.memory
    target = Target(kind="undo", template=snapshot.deployment.template, after={}, metadata={})
    check_free(snapshot, memory, target, driver.approach)
    assert memory is not None, "it was just found"
    plan = resume_plan(target, snapshot, memory, driver.approach)
    return (yield from driver.drive(observer, partial(decide, plan), plan.policy))


def _body(placed: Placed) -> Obj:
    obj = copy_of(placed.document.obj)
    obj["metadata"]["namespace"] = placed.namespace
    return obj
