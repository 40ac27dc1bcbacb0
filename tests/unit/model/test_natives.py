"""What a StatefulSet's and a DaemonSet's objects tell: hooks, revisions, surge."""

from __future__ import annotations

import pytest

from segue.model.natives import Revision, plain, stop_sleep_s, surge_of
from segue.model.objects import Obj
from segue.model.workloads import Pod


@pytest.mark.parametrize(
    ("hooks", "slept_s"),
    [
        ([{"sleep": {"seconds": 7}}], 7.0),
        ([{"exec": {"command": ["sh", "-c", "sleep 4"]}}], 4.0),
        ([{"exec": {"command": ["/bin/sleep", "2.5s"]}}], 2.5),
        ([{"sleep": {"seconds": 7}}, {"sleep": {"seconds": 3}}], 3.0),
        ([{"sleep": {"seconds": 7}}, None], 0.0),
        ([{"httpGet": {"path": "/stop", "port": 80}}], None),
        ([{"exec": {"command": ["nginx", "-s", "quit"]}}], None),
        ([None], 0.0),
    ],
)
def test_the_shortest_hook_of_a_pod_counts(hooks: list[Obj | None], slept_s: float | None) -> None:
    containers = [{"name": "c", **({"lifecycle": {"preStop": hook}} if hook else {})} for hook in hooks]

    assert stop_sleep_s({"spec": {"containers": containers}}) == slept_s


def test_a_revision_keeps_a_template_without_what_its_encoder_adds() -> None:
    kept = {"$patch": "replace", "metadata": {"creationTimestamp": None, "labels": {"a": "b"}}, "spec": {"x": [None]}}
    revision = Revision(obj={"metadata": {"name": "db-1a2b"}, "data": {"spec": {"template": kept}}, "revision": 3})

    assert revision.template == {"metadata": {"labels": {"a": "b"}}, "spec": {"x": [None]}}
    assert revision.template == plain(revision.template)
    assert (revision.short, revision.number) == ("1a2b", 3)


@pytest.mark.parametrize(
    ("label", "bears"), [("db-1a2b", True), ("1a2b", True), ("db-9z9z", False), ("2b", False), ("", False)]
)
def test_both_kinds_of_labels_say_which_version_a_pod_is_of(label: str, bears: bool) -> None:
    revision = Revision(obj={"metadata": {"name": "db-1a2b"}})
    pod = Pod(obj={"metadata": {"name": "p", "labels": {"controller-revision-hash": label}}})

    assert revision.bears(pod) is bears


@pytest.mark.parametrize(("said", "surge"), [(1, 1), ("25%", "25%"), (0, 0), ("0%", 0), (None, 0)])
def test_surge_is_none_where_it_is_nothing(said: int | str | None, surge: int | str) -> None:
    assert surge_of({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": said}}) == surge
