"""Images that no pod can start are told of at once, and taken all the same."""

from __future__ import annotations

from segue.cluster.api.images import image_warnings
from segue.cluster.node.images import BUILT_IN, ImageMap
from segue.model.http import NO_SUCH_IMAGE
from segue.model.objects import Obj

MAP = ImageMap(entries=BUILT_IN, words={})


def test_an_unknown_image_is_named_by_its_path() -> None:
    containers: list[Obj] = [{"image": "host.org/images/grace:v1"}, {"image": "nginx"}]
    deployment: Obj = {"spec": {"template": {"spec": {"containers": containers}}}}
    (said,) = image_warnings(deployment, MAP.complaint)

    assert said.startswith(f'spec.template.spec.containers[1].image: {NO_SUCH_IMAGE} "nginx"')


def test_an_init_container_of_a_pod_counts_too() -> None:
    pod: Obj = {"spec": {"initContainers": [{"image": "x"}], "containers": [{"image": "host.org/images/grace:v1"}]}}

    assert [said.partition(": ")[0] for said in image_warnings(pod, MAP.complaint)] == ["spec.initContainers[0].image"]


def test_known_images_are_no_matter() -> None:
    pod: Obj = {"spec": {"containers": [{"image": "host.org/images/grace:v1"}]}}

    assert list(image_warnings(pod, MAP.complaint)) == []


def test_an_object_without_pods_is_no_matter() -> None:
    assert list(image_warnings({"kind": "Deployment"}, MAP.complaint)) == []
