"""What an API server does between HTTP and its store: every write of anybody goes through here.

Rule 1: what is stored has been decoded by its field table, defaulted, admitted and validated.
Rule 2: a write that changes nothing is no write: the object keeps its version.
Rule 3: nothing here knows HTTP, a controller or the node; who collects garbage or empties a namespace is a controller.
Refusals are StatusErrors in Kubernetes' words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from segue.cluster.addresses import Allocator, drop_fields_of_old_type
from segue.cluster.admission.gate import admit
from segue.cluster.bootstrap import API_SERVICE, SYSTEM_NAMESPACES, bootstrap
from segue.cluster.defaults import fill_status, set_defaults
from segue.cluster.deletion import Deletion, Gone, Marked, Propagation, Unmoved, decide_deletion, is_finished
from segue.cluster.fields import examine, without_nulls
from segue.cluster.kinds import Kind, kind_of
from segue.cluster.options import DEFAULT_OPTIONS, Options, Patch, Subresource, options_of
from segue.cluster.ownership.keeping import Call, laid_over, own_changed, own_new
from segue.cluster.patching import check_patched_fields, patched
from segue.cluster.pod_defaults import say_what_gates_it, tolerate_node_trouble
from segue.cluster.quotas.admission import charged
from segue.cluster.quotas.usage import RESOURCE as QUOTAS
from segue.cluster.refusals import (
    bad_request,
    conflict,
    forbidden,
    invalid,
    invalid_scale,
    invalid_value,
    lost_object,
    missing,
    undecodable,
)
from segue.cluster.sayings import Sayings
from segue.cluster.scale import scale_of, with_replicas
from segue.cluster.store import Store
from segue.cluster.validation import create_causes, update_causes
from segue.cluster.writes import Create, Delete, Rescale, Say, Update, Write, signed
from segue.model.errors import StatusError
from segue.model.objects import Obj, Ref, name_of, namespace_of, rfc3339, uid_of, version_of
from segue.ports import Chance, Clock

__all__ = ["DEFAULT_OPTIONS", "Acting", "Options", "Patch", "Registry", "RegistrySettings", "Subresource"]
_NAME_TRIES = 8  # as kube-apiserver tries a generateName again
# Set by the server alone; whatever a caller sends for them is replaced by what is stored.
_OWN_METADATA = ("uid", "creationTimestamp", "generation", "deletionTimestamp", "deletionGracePeriodSeconds")
_KEEPS_STATUS_ON_CREATE = {"nodes"}
_CHARGED_FOR_MORE = {"services", "persistentvolumeclaims"}  # what an update may make count for more


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrySettings:
    """`api_endpoint` is where the Service `kubernetes` leads, where it leads anywhere."""

    service_cidr: str = "10.96.0.0/16"
    api_endpoint: tuple[str, int] | None = None


class Registry:
    """All writes of a cluster. A fresh one makes the namespaces and the Service every cluster has."""

    def __init__(self, store: Store, clock: Clock, chance: Chance, settings: RegistrySettings | None = None) -> None:
        self.store = store
        self._clock = clock
        self._chance = chance
        self._settings = settings or RegistrySettings()
        self._allocator = Allocator(store, chance, self._settings.service_cidr)
        self._sayings = Sayings(store, chance)
        self._bootstrap()

    def create(self, resource: str, obj: Obj, *, namespace: str = "", options: Options = DEFAULT_OPTIONS) -> Obj:
        """Make an object and return it as stored."""
        kind = kind_of(resource)
        made = self._decoded(kind, obj, options)
        self._place(kind, made, namespace)
        metadata = made["metadata"]
        if metadata.get("resourceVersion"):
            raise StatusError(400, "BadRequest", "resourceVersion should not be set on objects to be created")
        for key in (*_OWN_METADATA, "resourceVersion", "selfLink", "managedFields"):
            metadata.pop(key, None)
        if kind.status and resource not in _KEEPS_STATUS_ON_CREATE:
            made.pop("status", None)
        self._name(kind, made)
        metadata["uid"] = self._chance.uid()
        metadata["creationTimestamp"] = rfc3339(self._clock.now_s())
        if kind.generation:
            metadata["generation"] = 1
        set_defaults(resource, made)
        own_new(kind, made, Call(options=options, now_s=self._clock.now_s()))
        self._admit_pod(made) if resource == "pods" else None
        causes = create_causes(kind, made)
        if resource == "services" and not causes:
            causes = self._allocator.assign(made, None)
        if causes:
            raise invalid(kind, name_of(made), causes)
        admit(self.store, kind, (None, made), options)
        charges = self._charges(kind, made, None)
        self._must_be_free(kind, made)
        if options.dry_run:
            return made
        stored = self.store.put(resource, made, expected="")
        self._charge(charges)
        if resource == "namespaces":
            self.create("serviceaccounts", {"metadata": {"name": "default", "namespace": name_of(stored)}})
        return stored

    def update(
        self,
        resource: str,
        obj: Obj,
        *,
        namespace: str = "",
        subresource: Subresource = "",
        options: Options = DEFAULT_OPTIONS,
    ) -> Obj:
        """Replace an object (or its status, scale or finalizers), guarded by resourceVersion and uid where given."""
        kind = kind_of(resource)
        where = namespace or namespace_of(obj) or ("default" if kind.namespaced else "")
        before = self.read(Ref(resource=resource, namespace=where if kind.namespaced else "", name=name_of(obj)))
        if subresource == "scale":
            changed = with_replicas(before, obj)
            if changed["spec"]["replicas"] < 0:
                raise invalid_scale(name_of(before), changed["spec"]["replicas"])
            self._check_guards(kind, changed["metadata"], before)
            self._fill(kind, changed, before)
            own_changed(kind, before, changed, Call(options=options, subresource="scale", now_s=self._clock.now_s()))
            self._check(kind, changed, before)
            admit(self.store, kind, (before, changed), options, "scale")
            return scale_of(self._replace(kind, changed, before, options))
        read = obj
        if subresource == "status" and options.fields == "Ignore":  # what nodes write most; the rest is dropped
            read = {key: obj[key] for key in ("apiVersion", "kind", "metadata", "status") if key in obj}
        changed = self._decoded(kind, read, options)
        self._place(kind, changed, where)
        metadata = changed["metadata"]
        self._check_guards(kind, metadata, before)
        match subresource:
            case "status":
                changed = {**before, "status": changed.get("status") or {}}
                fill_status(resource, changed)
                if resource == "nodes":  # annotations and labels of a node travel with its status
                    changed["metadata"] = _kept_metadata(metadata, before["metadata"])
            case "finalize":
                spec = {**before.get("spec", {}), "finalizers": (changed.get("spec") or {}).get("finalizers") or []}
                changed = {**before, "spec": spec}
            case "":
                changed["metadata"] = _kept_metadata(metadata, before["metadata"])
                if resource == "namespaces":
                    changed["spec"] = before.get("spec", {})
                if kind.status:
                    changed.pop("status", None)
                    if "status" in before:
                        changed["status"] = before["status"]
                self._fill(kind, changed, before)
        given = obj.get("metadata", {}).get("managedFields")
        call = Call(options=options, subresource=subresource, given=given, now_s=self._clock.now_s())
        own_changed(kind, before, changed, call)
        if subresource == "":
            self._check(kind, changed, before)
        admit(self.store, kind, (before, changed), options, subresource)
        return self._replace(kind, changed, before, options)

    def patch(
        self, ref: Ref, patch: Patch, *, subresource: Subresource = "", options: Options = DEFAULT_OPTIONS
    ) -> Obj:
        """Patch an object or a subresource of it."""
        kind = kind_of(ref.resource)
        before = self.read(ref)
        document = scale_of(before) if subresource == "scale" else before
        model = "autoscaling_v1.Scale" if subresource == "scale" else kind.model
        made = patched(model, document, patch, kind)
        metadata = made.get("metadata")
        if not isinstance(metadata, dict):
            raise invalid(kind, ref.name, [invalid_value("metadata", metadata, "must be an object")])
        if metadata.get("name") != ref.name:
            raise bad_request("the name of the object based on the patch does not match the name on the URL")
        strict = Options(dry_run=options.dry_run) if options.fields == "Strict" else options
        check_patched_fields(model, made, patch, strict=options.fields == "Strict")
        return self.update(ref.resource, made, namespace=ref.namespace, subresource=subresource, options=strict)

    def apply(
        self, ref: Ref, patch: Patch, *, subresource: Subresource = "", options: Options = DEFAULT_OPTIONS
    ) -> tuple[Obj, bool]:
        """Server-side apply: the object as it then is, and whether it is new."""
        live = self.read(ref) if subresource else self.store.get(ref)
        call = Call(options=options, subresource=subresource, now_s=self._clock.now_s())
        obj, options = laid_over(ref, live, patch, call)
        if live is None:
            return self.create(ref.resource, obj, namespace=ref.namespace, options=options), True
        written = self.update(ref.resource, obj, namespace=ref.namespace, subresource=subresource, options=options)
        return written, False

    def delete(
        self,
        ref: Ref,
        *,
        grace_s: int | None = None,
        uid: str = "",
        version: str = "",
        propagation: Propagation = "Background",
    ) -> Obj:
        """Delete as a DELETE would; returns the last state or the state under deletion."""
        return self.delete_with(ref, Deletion(grace_s=grace_s, uid=uid, version=version, propagation=propagation))[0]

    def delete_with(self, ref: Ref, how: Deletion, options: Options = DEFAULT_OPTIONS) -> tuple[Obj, bool]:
        """Delete; returns the object and whether it is gone."""
        kind = kind_of(ref.resource)
        obj = self.read(ref)
        for label, wanted, got in (
            ("UID", how.uid, uid_of(obj)),
            ("ResourceVersion", how.version, version_of(obj)),
        ):
            if wanted and wanted != got:
                raise lost_object(kind, ref.name, label, wanted, got)
        if ref.resource == "namespaces" and ref.name in SYSTEM_NAMESPACES:
            raise forbidden(kind, ref.name, "this namespace may not be deleted")
        admit(self.store, kind, (obj, None), options)
        match decide_deletion(ref.resource, obj, how, self._clock.now_s()):
            case Gone(last=last_seen):
                if last_seen is not None and not how.dry_run:
                    self.store.put(ref.resource, last_seen)
                last = obj if how.dry_run else self.store.remove(ref)
                if ref == API_SERVICE and not how.dry_run:  # a control plane puts its own Service back
                    self._bootstrap()
                return last, True
            case Marked(obj=marked):
                return (marked if how.dry_run else self.store.put(ref.resource, marked)), False
            case Unmoved():
                if ref.resource == "namespaces" and not how.dry_run and self._is_empty(ref.name):
                    return self.store.remove(ref), True
                return obj, False

    def now_s(self) -> float:
        """The cluster's time."""
        return self._clock.now_s()

    def new_uid(self) -> str:
        """A name that nothing has had before."""
        return self._chance.uid()

    def read(self, ref: Ref) -> Obj:
        """The object, or the 404 of its kind."""
        found = self.store.get(ref)
        if found is None:
            raise missing(kind_of(ref.resource), ref.name)
        return found

    def bind(self, ref: Ref, node: str, *, dry_run: bool = False) -> Obj:
        """Give a pod its node (pods/binding)."""
        kind = kind_of("pods")
        before = self.read(ref)
        if before["spec"].get("nodeName"):
            raise conflict(kind, ref.name, f'pod {ref.name} is already assigned to node "{before["spec"]["nodeName"]}"')
        if before["metadata"].get("deletionTimestamp"):
            raise conflict(kind, ref.name, f"pod {ref.name} is being deleted, cannot be assigned to a host")
        status = {**before.get("status", {})}
        bound = {**before, "spec": {**before["spec"], "nodeName": node}, "status": status}
        scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": rfc3339(self._clock.now_s())}
        others = [one for one in status.get("conditions") or [] if one.get("type") != "PodScheduled"]
        status["conditions"] = [*others, scheduled]
        return bound if dry_run else self.store.put("pods", bound)

    def perform(self, write: Write) -> None:
        """Do what a controller or the node wants written; refusals are raised, so that it looks again."""
        match write:
            case Create(resource="bindings" | "pods/binding", obj=obj):
                ref = Ref(resource="pods", namespace=namespace_of(obj) or "default", name=name_of(obj))
                self.bind(ref, obj["target"]["name"])
            case Create(resource=resource, obj=obj, by=by):
                self.create(resource, obj, options=options_of(by))
            case Update(resource="pods", obj=obj, status=False) if self._binds(obj):
                ref = Ref(resource="pods", namespace=namespace_of(obj), name=name_of(obj))
                self._check_guards(kind_of("pods"), obj["metadata"], self.read(ref))
                self.bind(ref, obj["spec"]["nodeName"])
            case Update(resource=resource, obj=obj, status=status, by=by):
                self.update(resource, obj, subresource="status" if status else "", options=options_of(by))
            case Rescale(resource=resource, scale=scale, by=by):
                self.update(resource, scale, subresource="scale", options=options_of(by))
            case Delete(ref=ref, uid=uid, grace_s=grace_s, propagation=propagation, by=by):
                self.delete_with(ref, Deletion(uid=uid, grace_s=grace_s, propagation=propagation), options_of(by))
            case Say():
                self._say(write)

    def _bootstrap(self) -> None:
        bootstrap(self, self._allocator.first, self._settings.api_endpoint)

    def _say(self, say: Say) -> None:
        now_s = self._clock.now_s()
        event, new = self._sayings.event_of(say, now_s)
        if not new:
            self.store.put("events", event)
        elif self._namespace_phase(namespace_of(event)) == "Active":
            self.create("events", event, options=Options(manager=say.component))
        for ref in self._sayings.expired(now_s):
            self.store.remove(ref)

    def _binds(self, pod: Obj) -> bool:
        before = self.store.get(Ref(resource="pods", namespace=namespace_of(pod), name=name_of(pod)))
        return before is not None and not before["spec"].get("nodeName") and bool(pod["spec"].get("nodeName"))

    def _decoded(self, kind: Kind, obj: Obj, options: Options) -> Obj:
        """The caller's object as its kind: nulls and unknown fields gone, types checked, a copy of our own."""
        decoded = without_nulls(_without_owners(obj))
        for key, wanted in (("apiVersion", kind.api_version), ("kind", kind.kind)):
            given = decoded.setdefault(key, wanted)
            if given != wanted:
                words = "API version" if key == "apiVersion" else "kind"
                raise bad_request(f"the {words} in the data ({given}) does not match the expected {words} ({wanted})")
        report = examine(kind.model, decoded)
        if report.mistyped:
            raise undecodable(kind, report.mistyped)
        if report.unknown:
            texts = [f'unknown field "{path}"' for path in report.unknown]
            if options.fields == "Strict":
                raise undecodable(kind, f"strict decoding error: {', '.join(texts)}")
            if options.fields == "Warn":
                for text in texts:
                    options.warn(text)
        decoded.setdefault("metadata", {})
        return decoded

    def _place(self, kind: Kind, obj: Obj, namespace: str) -> None:
        metadata = obj["metadata"]
        if not kind.namespaced:
            metadata.pop("namespace", None)
            return
        given = metadata.get("namespace")
        if given and namespace and given != namespace:
            raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
        metadata["namespace"] = given or namespace or "default"

    def _name(self, kind: Kind, obj: Obj) -> None:
        """A name where only a prefix is given; and the namespace must be there and stay."""
        metadata = obj["metadata"]
        prefix = metadata.get("generateName")
        if prefix and not metadata.get("name"):
            for _ in range(_NAME_TRIES):
                metadata["name"] = f"{prefix[:58]}{self._chance.suffix(5)}"
                if self.store.get(_ref(kind, obj)) is None:
                    break
        if not kind.namespaced:
            return
        namespace = namespace_of(obj)
        match self._namespace_phase(namespace):
            case "":
                raise missing(kind_of("namespaces"), namespace)
            case "Terminating":
                why = f"unable to create new content in namespace {namespace} because it is being terminated"
                refusal = forbidden(kind, metadata.get("name", ""), why)
                refusal.details["causes"] = [
                    {
                        "reason": "NamespaceTerminating",
                        "message": f"namespace {namespace} is being terminated",
                        "field": "metadata.namespace",
                    }
                ]
                raise refusal
            case _:
                return

    def _namespace_phase(self, namespace: str) -> str:
        found = self.store.get(Ref(resource="namespaces", namespace="", name=namespace))
        if found is None:
            return ""
        return "Terminating" if found["metadata"].get("deletionTimestamp") else "Active"

    def _admit_pod(self, pod: Obj) -> None:
        tolerate_node_trouble(pod["spec"])
        say_what_gates_it(pod)
        account = pod["spec"]["serviceAccountName"]
        namespace = namespace_of(pod)
        if account != "default":
            ref = Ref(resource="serviceaccounts", namespace=namespace, name=account)
            if self.store.get(ref) is None:
                why = f'error looking up service account {namespace}/{account}: serviceaccount "{account}" not found'
                raise forbidden(kind_of("pods"), name_of(pod), why)

    def _check_guards(self, kind: Kind, metadata: Mapping[str, object], before: Obj) -> None:
        uid, version = metadata.get("uid"), metadata.get("resourceVersion")
        name = name_of(before)
        if uid and uid != uid_of(before):
            why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {uid_of(before)}"
            raise conflict(kind, name, why)
        if version and version != version_of(before):
            why = "the object has been modified; please apply your changes to the latest version and try again"
            raise conflict(kind, name, why)

    def _fill(self, kind: Kind, changed: Obj, before: Obj) -> None:
        """Default an object that is to take the place of another."""
        if kind.resource == "services":
            drop_fields_of_old_type(changed, before)
        set_defaults(kind.resource, changed, before)

    def _check(self, kind: Kind, changed: Obj, before: Obj) -> None:
        """Validate an object that is to take the place of another."""
        causes = update_causes(kind, changed, before)
        if kind.resource == "services" and not causes:
            causes = self._allocator.assign(changed, before)
        if causes:
            raise invalid(kind, name_of(before), causes)

    def _replace(self, kind: Kind, changed: Obj, before: Obj, options: Options) -> Obj:
        changed["metadata"] = {**changed["metadata"], "resourceVersion": version_of(before)}
        if changed == before:
            return before
        # What did not change is shared with the state before: kept events cost what changed, not whole objects.
        changed = {key: before[key] if before.get(key) == value else value for key, value in changed.items()}
        if kind.generation and _meaning(changed) != _meaning(before):
            generation = before["metadata"].get("generation", 1) + 1
            changed["metadata"] = {**changed["metadata"], "generation": generation}
        charges = self._charges(kind, changed, before) if kind.resource in _CHARGED_FOR_MORE else []
        if options.dry_run:
            return changed
        self._charge(charges)
        if is_finished(kind.resource, changed):
            return self.store.remove(_ref(kind, changed))
        return self.store.put(kind.resource, changed)

    def _charges(self, kind: Kind, obj: Obj, before: Obj | None) -> list[Obj]:
        """The quotas of the namespace with the object counted in; StatusError 403 where one is used up."""
        quotas = self.store.all_of(QUOTAS, namespace_of(obj)) if kind.namespaced else []
        return charged(kind.resource, obj, before, quotas) if quotas else []

    def _charge(self, quotas: list[Obj]) -> None:
        for quota in quotas:
            self.store.put(QUOTAS, quota)

    def _must_be_free(self, kind: Kind, obj: Obj) -> None:
        if self.store.get(_ref(kind, obj)) is not None:
            name = name_of(obj)
            message = f'{kind.resource} "{name}" already exists'
            details: Obj = {"name": name, "group": kind.group, "kind": kind.plural}
            raise StatusError(409, "AlreadyExists", message, details)

    def _is_empty(self, namespace: str) -> bool:
        return not any(self.store.all_of(resource, namespace) for resource in self.store.resources())


@dataclass(frozen=True, slots=True)
class Acting:
    """A registry in the hands of one program, which owns what it writes through it."""

    registry: Registry
    by: str

    def perform(self, write: Write) -> None:
        """Perform one write, or raise StatusError."""
        self.registry.perform(signed(write, self.by))


def _ref(kind: Kind, obj: Obj) -> Ref:
    return Ref(resource=kind.resource, namespace=namespace_of(obj), name=name_of(obj))


def _without_owners(obj: Obj) -> Obj:
    """The object without managedFields: who is believed about them is decided apart, and they cost time to check."""
    metadata = obj.get("metadata")
    if not isinstance(metadata, dict) or "managedFields" not in metadata:
        return obj
    return {**obj, "metadata": {key: value for key, value in metadata.items() if key != "managedFields"}}


def _meaning(obj: Obj) -> Obj:
    """What generation counts changes of: everything but metadata and status."""
    return {key: value for key, value in obj.items() if key not in {"metadata", "status"}}


def _kept_metadata(metadata: Obj, before: Obj) -> Obj:
    """The caller's metadata with the server's own fields as they were."""
    kept = {key: value for key, value in metadata.items() if key not in {"managedFields", "selfLink"}}
    for key in _OWN_METADATA:
        kept.pop(key, None)
        if key in before:
            kept[key] = before[key]
    for key in ("labels", "annotations", "finalizers", "ownerReferences"):
        if key in kept and not kept[key]:
            del kept[key]
    return kept
