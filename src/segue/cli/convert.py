"""`segue convert`."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from segue.cli.output import note, say
from segue.host.manifests import read_manifests
from segue.model.bygone import renewed
from segue.model.objects import Obj

Files = Annotated[
    list[str],
    Parameter(
        name=["--filename", "-f"],
        metavar="FILE",
        negative_iterable=(),
        help="manifests: files, directories, or - for standard input",
    ),
]


def convert(*, filename: Files) -> int:
    """Print manifests of other times as what is served now: a DeploymentConfig of OpenShift as a Deployment.

    Also extensions/v1beta1 and the other old groups of workloads, with the defaults that counted there, and autoscalers
    of what was converted. stderr says of each field that has no place any more what to do instead. Other objects are
    passed on.

    Examples
    --------
    oc get dc web -o yaml | segue convert -f - > web.yaml
    segue convert -f old.yaml | segue check -
    segue convert -f old.yaml | segue release -f - --image web=v2
    """
    import yaml  # noqa: PLC0415 - most commands never need it, and it costs start-up time

    objects: list[Obj] = []
    for document in read_manifests(filename):
        made = renewed(document.obj)
        objects.append(made.obj if made else document.obj)
        for one in made.notes if made else ():
            place = document.place(one.path)
            where = f"{place.file}:{place.line}" if place.line else place.file
            note(f"{where}: {document.kind} {document.name}: {one.path}: {one.says}")
    say(yaml.safe_dump_all(objects, sort_keys=False, allow_unicode=True).rstrip())
    return 0
