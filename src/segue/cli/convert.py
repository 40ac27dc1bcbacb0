"""`segue convert`."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from segue.cli.documents import of_today
from segue.cli.output import note, say
from segue.host.manifests import read_manifests
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
    segue plan -f old.yaml       # plan and release convert by themselves
    """
    import yaml  # noqa: PLC0415 - most commands never need it, and it costs start-up time

    objects: list[Obj] = []
    for document in map(of_today, read_manifests(filename)):
        objects.append(document.obj)
        for said in document.became:
            note(said)
    say(yaml.safe_dump_all(objects, sort_keys=False, allow_unicode=True).rstrip())
    return 0
