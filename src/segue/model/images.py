"""Another image for containers that are named: in a manifest, or in a template that runs. Pure.

Rule: whoever names a container that is not there is told which ones are.
"""

from __future__ import annotations

from collections.abc import Sequence

from segue.model.errors import UsageError
from segue.model.objects import Obj


def split(assignment: str) -> tuple[str, str]:
    """`NAME=TAG` or `NAME=IMAGE` as name and what is wanted; UsageError where it is neither."""
    name, equals, wanted = assignment.partition("=")
    if not equals or not name or not wanted:
        raise UsageError(f"--image {assignment}: must be NAME=TAG or NAME=IMAGE", remedy="for example --image web=v2")
    return name, wanted


def unknown(assignment: str, where: str, names: Sequence[str]) -> UsageError:
    """No container or image of this is called so."""
    return UsageError(
        f"--image {assignment}: no container or image of {where} is called {assignment.partition('=')[0]}",
        remedy=f"its containers are {', '.join(sorted(set(names))) or 'none'}",
    )


def containers_of(template: Obj) -> list[Obj]:
    """All containers of a pod template, as far as it is one."""
    pod = template.get("spec") or {}
    rows = [*(pod.get("initContainers") or []), *(pod.get("containers") or [])] if isinstance(pod, dict) else []
    return [row for row in rows if isinstance(row, dict)]


def put_image(template: Obj, name: str, wanted: str) -> int:
    """Change the image of each container, or of each image, of this name, in place; how many there were."""
    count = 0
    for container in containers_of(template):
        base = _base(str(container.get("image") or ""))
        if name in {container.get("name"), base, base.rpartition("/")[2]}:
            container["image"] = wanted if "/" in wanted or ":" in wanted else f"{base}:{wanted}"
            count += 1
    return count


def tag_of(image: str) -> str:
    """The tag of an image, "" where it has none."""
    last = image.partition("@")[0].rpartition("/")[2]
    return last.partition(":")[2]


def _base(image: str) -> str:
    """An image without its tag or digest."""
    image = image.partition("@")[0]
    head, slash, last = image.rpartition("/")
    return head + slash + last.partition(":")[0]
