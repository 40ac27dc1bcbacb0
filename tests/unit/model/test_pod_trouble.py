"""Why pods are not Ready, told once where it is the same."""

from __future__ import annotations

from segue.model.workloads import Pod
from segue.release.patience import stuck, troubles_of

PULL = 'failed to pull "a/b:1": lookup a: read udp [::1]:{port}->[::1]:53: read: connection refused'


def waiting(name: str, reason: str, message: str) -> Pod:
    state = {"name": "web", "state": {"waiting": {"reason": reason, "message": message}}}
    return Pod(obj={"metadata": {"name": name}, "spec": {}, "status": {"containerStatuses": [state]}})


def test_pods_that_cannot_pull_one_image_tell_it_once() -> None:
    pods = [
        waiting("a", "ErrImagePull", PULL.format(port=41234)),
        waiting("b", "ErrImagePull", PULL.format(port=52612)),
        waiting("c", "ImagePullBackOff", 'Back-off pulling image "a/b:1": ErrImagePull: ' + PULL.format(port=33333)),
    ]

    assert troubles_of(pods) == (
        'a, b, c: ErrImagePull: failed to pull "a/b:1": lookup a: read udp [::1]:53: read: connection refused'
    )


def test_what_only_takes_its_time_is_not_told_while_one_waits() -> None:
    starting = waiting("a", "ContainerCreating", "")
    failing = waiting("b", "CrashLoopBackOff", "back-off 10s restarting failed container")

    assert stuck([starting]) == ""
    assert stuck([starting, failing]) == ": b: CrashLoopBackOff: back-off 10s restarting failed container"


def test_pods_with_different_troubles_are_told_apart() -> None:
    pods = [waiting("a", "ErrImagePull", "no such host"), waiting("b", "ErrImagePull", "denied")]

    assert troubles_of(pods) == "a: ErrImagePull: no such host; b: ErrImagePull: denied"
