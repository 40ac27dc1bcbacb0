"""A document of what runs, with other images: for a release without a manifest.

Rule: it brings a template and nothing else; whatever the Deployment says beside it stays as it is.
"""

from __future__ import annotations

from collections.abc import Sequence

from segue.drive.flow import Flow
from segue.drive.observe import Observer
from segue.model.errors import UsageError
from segue.model.images import containers_of, put_image, split, unknown
from segue.model.manifest import Document
from segue.model.objects import Obj, copy_of
from segue.release.plan import digest_of
from segue.release.snapshot import Snapshot


def document_of_running(observer: Observer, images: Sequence[str]) -> Flow[Document]:
    """The Deployment that the observer looks at, with these images (`NAME=TAG` or `NAME=IMAGE`)."""
    if not images:
        raise nothing_changes(f"Deployment {observer.name}")
    snapshot = yield from observer.observe()
    template = with_images(snapshot.deployment.template, images, f"Deployment {observer.name}")
    memory = snapshot.memory
    if memory is not None and memory.serving == "old" and digest_of(template) != memory.digest:
        template = with_images(_serving(snapshot, memory.old_set), images, f"Deployment {observer.name}")
    obj: Obj = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": observer.name, "namespace": observer.namespace},
        "spec": {"template": template},
    }
    return Document(obj=obj, file=f"deployment/{observer.name}", line=0, lines={}, from_running=True)


def nothing_changes(workload: str) -> UsageError:
    """Neither a manifest nor an image was named."""
    return UsageError(
        f"nothing would change: {workload} runs as it is",
        remedy="name another image, for example --image web=v2, or a manifest with -f",
    )


def _serving(snapshot: Snapshot, old_set: str) -> Obj:
    """The template of the pods that serve while another release stands in its middle."""
    found = [one.template for one in snapshot.sets if one.name == old_set]
    return found[0] if found else snapshot.deployment.template


def with_images(template: Obj, images: Sequence[str], workload: str) -> Obj:
    """The template with these images (`NAME=TAG` or `NAME=IMAGE`); UsageError where a name is unknown."""
    changed = copy_of(template)
    for assignment in images:
        name, wanted = split(assignment)
        if not put_image(changed, name, wanted):
            names = [str(row["name"]) for row in containers_of(template)]
            raise unknown(assignment, workload, names)
    return changed
