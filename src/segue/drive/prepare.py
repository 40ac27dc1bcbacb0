"""From documents to targets: every document is tried on the server (dry run, strict) before anything is changed.

Rule 1: a fault of the manifest is a ManifestError at its file and line, in the server's own words.
Rule 2: a workload's template is replaced as a whole: what runs is what the manifest says.
Rule 3: other objects are merged in; a Service that would move traffic by itself is refused.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from segue.drive.flow import Flow, ask, body_of, error_of, get
from segue.model.errors import ManifestError, Place, Refused, SegueError, StatusError
from segue.model.http import JSON_PATCH, MERGE_PATCH, NO_SUCH_IMAGE, STRATEGIC_PATCH, ApiRequest, ApiResponse
from segue.model.manifest import Document
from segue.model.natives import RELEASED
from segue.model.objects import Obj, annotations_of, copy_of, labels_of, namespace_of, selects
from segue.model.workloads import HASH_LABEL, Deployment
from segue.release.actions import SETTINGS
from segue.release.memory import memory_of
from segue.release.plan import Target
from segue.release.requests import patch_workload

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_CUSTOM = frozenset({"gateway.networking.k8s.io"})  # by its name alone it would be Kubernetes' own
_QUOTED_FIELD = re.compile(r'(?:unknown|duplicate) field "([^"]+)"')
_GO_FIELD = re.compile(r"Go struct field [A-Za-z]+\.([A-Za-z0-9.\[\]]+)|json: .*? \.?([a-z][A-Za-z0-9.\[\]]+) of type")


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A document and where the API keeps its kind."""

    document: Document
    namespace: str
    collection: str

    @property
    def path(self) -> str:
        """Its own path."""
        return f"{self.collection}/{self.document.name}"


def locate(documents: tuple[Document, ...], namespace: str) -> Flow[tuple[Placed, ...]]:
    """Where each document lives; an unknown kind is the manifest's fault."""
    known: dict[str, list[Obj]] = {}
    placed = []
    for document in documents:
        version = document.api_version
        root = f"/api/{version}" if "/" not in version else f"/apis/{version}"
        if version not in known:
            _, (response,) = yield from ask(get(root))
            if response.code == 404:
                raise ManifestError(
                    f"this cluster does not know apiVersion {version}",
                    place=document.place("apiVersion"),
                    remedy="kubectl api-versions lists what it knows",
                )
            known[version] = list(body_of(response, root).get("resources") or [])
        kinds = [row for row in known[version] if row["kind"] == document.kind and "/" not in row["name"]]
        if not kinds:
            raise ManifestError(
                f"this cluster knows no kind {document.kind} in {version}",
                place=document.place("kind"),
                remedy="kubectl api-resources lists what it knows; kinds are case-sensitive",
            )
        where = document.namespace or namespace
        inside = f"/namespaces/{where}" if kinds[0].get("namespaced") else ""
        placed.append(
            Placed(
                document=document, namespace=where if inside else "", collection=f"{root}{inside}/{kinds[0]['name']}"
            )
        )
    return tuple(placed)


def _body(placed: Placed) -> Obj:
    obj = copy_of(placed.document.obj)
    if placed.namespace:
        obj["metadata"]["namespace"] = placed.namespace
    return obj


def creation(placed: Placed, *, dry_run: bool) -> ApiRequest:
    """Make the object."""
    query = {"fieldManager": "segue", "fieldValidation": "Strict"} | ({"dryRun": "All"} if dry_run else {})
    return ApiRequest(method="POST", path=placed.collection, query=query, body=_body(placed))


def merging(placed: Placed, *, dry_run: bool) -> ApiRequest:
    """Merge the document into the object that is there."""
    group = placed.document.api_version.rpartition("/")[0]
    native = group not in _CUSTOM and ("." not in group or group.endswith(".k8s.io"))
    query = {"fieldManager": "segue", "fieldValidation": "Strict"} | ({"dryRun": "All"} if dry_run else {})
    return ApiRequest(
        method="PATCH",
        path=placed.path,
        query=query,
        body=_body(placed),
        content_type=STRATEGIC_PATCH if native else MERGE_PATCH,
    )


def manifest_fault(document: Document, response: ApiResponse) -> SegueError:
    """The server's refusal at the place in the file that it speaks of."""
    error = error_of(response, f"{document.kind} {document.name}")
    if not isinstance(error, StatusError) or response.code not in {400, 422}:
        if response.code == 404 and isinstance(error, StatusError):
            return ManifestError(error.message, place=document.place("metadata.namespace"), remedy="create it first")
        return error
    found = _QUOTED_FIELD.search(error.message)
    if found:
        said = error.message.partition("strict decoding error: ")[2] or error.message
        return ManifestError(
            said, place=document.place(_clean(found.group(1))), remedy="check the spelling and the indentation"
        )
    causes = (response.body.get("details") or {}).get("causes") or []
    if causes and causes[0].get("field") != "patch":  # that one repeats the whole object before it says what is wrong
        first = causes[0]
        text = f"{first.get('field')}: {first.get('message')}" if first.get("field") else str(first.get("message"))
        remedy = "the field cannot be changed on a living object: put the old value back, or make a new object"
        immutable = "immutable" in text
        return ManifestError(
            text,
            place=document.place(_clean(str(first.get("field") or ""))),
            remedy=remedy if immutable else "correct the value",
        )
    _, marked, inner = error.message.rpartition(": json: ")
    message = f"json: {inner}" if marked else error.message
    found = _GO_FIELD.search(message)
    path = next((group for group in found.groups() if group), "") if found else ""
    return ManifestError(message, place=document.place(_clean(path)), remedy="correct the value")


def _clean(path: str) -> str:
    return path if path.startswith(("spec", "metadata", "data", "kind", "apiVersion", "type", "$")) else ""


def try_out(placed: Placed) -> Flow[tuple[Obj | None, Obj]]:
    """What is there now (None: nothing), and what it would be: by a dry run, so that nothing changes."""
    _, (found,) = yield from ask(get(placed.path))
    live = None if found.code == 404 else body_of(found, placed.path)
    if live is None:
        request = creation(placed, dry_run=True)
    elif placed.document.kind in RELEASED:
        request = _whole(live, placed.document)
    else:
        request = merging(placed, dry_run=True)
    _, (answer,) = yield from ask(request)
    if answer.code >= 400:
        raise manifest_fault(placed.document, answer)
    for warning in answer.warnings:
        path, _, said = warning.partition(": ")
        if said.startswith(NO_SUCH_IMAGE):
            raise ManifestError(said, place=placed.document.place(path), remedy="see segue up --image-map")
    return live, answer.body


def changes_of(live: Obj, document: Document) -> Obj:
    """Spec fields the manifest sets, and (as None) those it set when kubectl applied it last and no longer does."""
    spec: Obj = dict(document.obj.get("spec") or {})
    if document.from_running:
        return spec
    try:
        applied = json.loads(annotations_of(live).get(LAST_APPLIED, "{}"))
    except ValueError:
        applied = {}
    dropped = set(applied.get("spec") or {}) - set(spec) - {"replicas"}
    return {**spec, **dict.fromkeys(dropped)}


def _whole(live: Obj, document: Document) -> ApiRequest:
    manifest, plural = document.obj, RELEASED[document.kind]
    changes = changes_of(live, document)
    labels, annotations = labels_of(manifest), annotations_of(manifest)
    request = patch_workload(live, plural, changes, labels=labels, annotations=annotations)
    assert isinstance(request.body, list)
    return ApiRequest(
        method="PATCH",
        path=request.path,
        query={"fieldManager": "segue", "fieldValidation": "Strict", "dryRun": "All"},
        body=request.body[1:],  # no guard: nothing is written
        content_type=JSON_PATCH,
    )


def target_of(document: Document, live: Deployment, wanted: Obj) -> Target:
    """What a release of this document is to reach; `wanted` is the server's answer to the dry run."""
    changes = changes_of(live.obj, document)
    memory = memory_of(live.annotations)
    after = {key: wanted["spec"].get(key) for key in {*SETTINGS, *changes} - {"template", "selector"}}
    return Target(
        kind="release",
        template=wanted["spec"]["template"],
        after=memory.after if memory is not None and memory.kind == "release" else after,
        metadata=metadata_of(document, live.obj),
    )


def metadata_of(document: Document, live: Obj) -> Obj:
    """Labels and annotations that the document brings, with what kubectl apply would have noted."""
    annotations: Obj = dict(annotations_of(document.obj))
    if LAST_APPLIED in annotations_of(live) and not document.from_running:
        annotations[LAST_APPLIED] = _as_applied(document.obj, namespace_of(live))
    return {"labels": labels_of(document.obj), "annotations": annotations}


def _as_applied(manifest: Obj, namespace: str) -> str:
    """What kubectl apply would have written down, letter by letter: applying the file again then changes nothing."""
    metadata: Obj = {"annotations": {}, "namespace": namespace, **(manifest.get("metadata") or {})}
    metadata["annotations"] = {key: text for key, text in annotations_of(manifest).items() if key != LAST_APPLIED}
    text = json.dumps({**manifest, "metadata": metadata}, separators=(",", ":"), sort_keys=True, ensure_ascii=False)
    # Go's encoder writes these as escapes
    return "".join(f"\\u{ord(each):04x}" if each in "<>&\u2028\u2029" else each for each in text) + "\n"


def check_service(placed: Placed, live: Obj | None, templates: list[Obj], pods: list[Obj]) -> None:
    """A Service of the manifest must select something, and must not move traffic by itself."""
    document = placed.document
    selector: dict[str, str] = document.obj.get("spec", {}).get("selector") or {}
    if not selector:
        return
    if not any(selects(selector, labels_of(one)) for one in [*templates, *pods]):
        labels = "; ".join(
            ", ".join(f"{key}={value}" for key, value in sorted(labels_of(one).items())) for one in templates
        )
        raise ManifestError(
            f"Service {document.name} selects nothing: no pod carries "
            + ", ".join(f"{key}={value}" for key, value in sorted(selector.items())),
            place=document.place("spec.selector"),
            remedy=f"the pods of this manifest carry {labels}" if labels else "correct the selector",
        )
    if live is None:
        return
    now = {key: value for key, value in (live["spec"].get("selector") or {}).items() if key != HASH_LABEL}
    if now and now != selector:
        place = document.place("spec.selector")
        raise Refused(
            f"Service {document.name} would select other pods than now ({now} becomes {selector}): its traffic would "
            "jump in one go",
            place=Place(file=place.file, line=place.line, path=place.path),
            remedy="change the selector by itself, or leave it as it is in this release",
        )
