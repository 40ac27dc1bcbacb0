"""ResourceQuotas: what is counted, who is refused with which words, and what a ReplicaSet then says."""

from __future__ import annotations

from contextlib import suppress

import pytest

from segue.model.objects import Obj, condition_of
from tests.live.both import manifests, rollouts
from tests.live.both.rollouts import wait_until
from tests.live.both.test_api_answers import MP, ask
from tests.live.both.world import Place

pytestmark = pytest.mark.live

STATEMENTS = {
    "Quota-counts": "status.used follows pods, their requests and limits, Services and count/RESOURCE.",
    "Quota-refuses": "What goes beyond a quota is 403 with requested, used and limited; a dry run is refused alike.",
    "Quota-names": "Under a quota of cpu or memory every container must name them, else the pod is 403.",
    "Quota-scopes": "A quota with scopes counts only the pods of its scopes.",
    "Quota-ReplicaSet": "A ReplicaSet without room says FailedCreate by condition and event; with room it fills up.",
    "Quota-valid": "A quota of an unknown, negative or broken amount, or with conflicting scopes, is refused.",
}
NOT_COVERED: dict[str, str] = {}
DIFFERENCES = {
    "Quota-counts": "real: every namespace has the ConfigMap kube-root-ca.crt, which counts; embedded: it has none",
}


def quota(place: Place, name: str, hard: Obj, scopes: list[str] | None = None) -> None:
    """A quota that has been counted once."""
    spec = {"hard": hard} | ({"scopes": scopes} if scopes else {})
    place.create({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": name}, "spec": spec})
    wait_until(lambda: "used" in place.get("resourcequotas", name).get("status", {}), what="a first count")


def used(place: Place, name: str) -> Obj:
    """What the quota says is used."""
    found: Obj = place.get("resourcequotas", name)["status"]["used"]
    return found


def wait_used(place: Place, name: str, **wanted: str) -> None:
    """Wait until the quota says so."""
    wait_until(lambda: wanted.items() <= used(place, name).items(), what=f"{wanted} in {used(place, name)}")


def pod(name: str, requests: Obj | None = None, limits: Obj | None = None, spec: Obj | None = None) -> Obj:
    """A pod that asks for something."""
    given = {"requests": requests or {}, "limits": limits or {}}
    return manifests.pod(name, resources={key: value for key, value in given.items() if value}, spec=spec)


def make(place: Place, obj: Obj, query: str = "") -> tuple[int, str]:
    """Create an object; the code, and the message where it was refused."""
    code, told = ask(place, "POST", place.path(obj["kind"].lower() + "s") + query, obj)
    return code, told.get("message", "")


@pytest.mark.states("Quota-counts", "Quota-refuses")
def test_pods_count_from_their_creation_until_they_are_gone(place: Place) -> None:
    quota(place, "q", {"pods": "2"})
    made = [make(place, manifests.pod("a")), make(place, manifests.pod("b"), "?dryRun=All"), make(place, pod("b"))]
    at_once = used(place, "q")
    beyond = [make(place, manifests.pod("c")), make(place, manifests.pod("c"), "?dryRun=All")]
    place.delete("pods", "a", grace_s=0)
    wait_used(place, "q", pods="1")
    again = make(place, manifests.pod("c"))

    refusal = 'pods "c" is forbidden: exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2'
    assert [code for code, _ in made] == [201, 201, 201]
    assert at_once == {"pods": "2"}
    assert beyond == [(403, refusal)] * 2
    assert again[0] == 201


@pytest.mark.states("Quota-counts")
def test_a_pod_that_has_ended_counts_no_more(place: Place) -> None:
    quota(place, "q", {"pods": "1", "count/pods": "9"})
    place.create(manifests.pod("a", spec={"restartPolicy": "Never"}, readinessProbe=manifests.http("ready")))
    address = place.wait_ready("a")["status"]["podIP"]
    with suppress(OSError):  # it ends before it answers
        place.ask(address, manifests.PORT, "/exit?code=0")

    wait_used(place, "q", **{"pods": "0", "count/pods": "1"})


@pytest.mark.states("Quota-counts", "Quota-refuses")
def test_services_and_objects_of_any_kind_are_counted(place: Place) -> None:
    hard = {
        "services": "1",
        "services.nodeports": "0",
        "count/deployments.apps": "1",
        "count/leases.coordination.k8s.io": "1",
    }
    quota(place, "q", hard)
    made = make(place, manifests.service("s"))
    second = make(place, manifests.service("t"))
    exposed = ask(place, "PATCH", place.path("services", "s"), {"spec": {"type": "NodePort"}}, MP)
    place.create(manifests.deployment("d", 0))
    another = make(place, manifests.deployment("e", 0))

    assert made[0] == 201
    assert second == (
        403,
        'services "t" is forbidden: exceeded quota: q, requested: services=1, used: services=1, limited: services=1',
    )
    assert exposed[0] == 403
    assert exposed[1]["details"] == {"name": "s", "kind": "services"}
    assert exposed[1]["message"].endswith(
        "requested: services.nodeports=1, used: services.nodeports=0, limited: services.nodeports=0"
    )
    assert another == (
        403,
        'deployments.apps "e" is forbidden: exceeded quota: q, requested: count/deployments.apps=1, '
        "used: count/deployments.apps=1, limited: count/deployments.apps=1",
    )
    wait_used(place, "q", **{"services": "1", "services.nodeports": "0", "count/deployments.apps": "1"})


@pytest.mark.states("Quota-counts", "Quota-refuses")
def test_requests_and_limits_are_added_up(place: Place) -> None:
    quota(place, "q", {"requests.cpu": "1", "limits.memory": "1Gi", "cpu": "2"})
    made = make(place, pod("a", {"cpu": "300m"}, {"memory": "100Mi"}))
    beyond = make(place, pod("b", {"cpu": "0.8"}, {"memory": "1Gi"}))
    first = {"name": "i", "image": f"{manifests.PUPPET}:v1"}
    first |= {"resources": {"requests": {"cpu": "10m"}, "limits": {"memory": "300M"}}}  # type: ignore[dict-item]
    last = make(place, pod("b", {"cpu": "0.25"}, {"memory": "200M"}, {"initContainers": [first]}))

    assert (made[0], last[0]) == (201, 201)
    assert beyond == (
        403,
        'pods "b" is forbidden: exceeded quota: q, requested: limits.memory=1Gi,requests.cpu=800m, '
        "used: limits.memory=100Mi,requests.cpu=300m, limited: limits.memory=1Gi,requests.cpu=1",
    )
    assert used(place, "q") == {"cpu": "550m", "limits.memory": "404857600", "requests.cpu": "550m"}


@pytest.mark.states("Quota-names")
def test_what_a_quota_measures_must_be_named(place: Place) -> None:
    quota(place, "q", {"requests.cpu": "1", "limits.memory": "1Gi"})

    nothing, half = make(place, pod("a")), make(place, pod("a", {"cpu": "1m"}))

    begin = 'pods "a" is forbidden: failed quota: q: must specify '
    assert nothing == (403, begin + "limits.memory for: puppet; requests.cpu for: puppet")
    assert half == (403, begin + "limits.memory for: puppet")


@pytest.mark.states("Quota-scopes")
def test_scopes_choose_what_is_counted(place: Place) -> None:
    scopes = {"best": ["BestEffort"], "better": ["NotBestEffort"], "brief": ["Terminating"], "long": ["NotTerminating"]}
    for name, chosen in scopes.items():
        quota(place, name, {"pods": "1"}, chosen)
    made = [
        make(place, pod("a")),
        make(place, pod("b")),
        make(place, pod("c", {"cpu": "1m"}, spec={"activeDeadlineSeconds": 99})),
    ]

    refused = [told.partition("exceeded quota: ")[2].partition(",")[0] for _, told in made]
    assert [code for code, _ in made] == [201, 403, 201]
    assert refused[1] in {"best", "long"}
    assert {name: used(place, name)["pods"] for name in scopes} == dict.fromkeys(scopes, "1")


@pytest.mark.states("Quota-ReplicaSet")
def test_a_replica_set_without_room_says_so_and_goes_on_with_room(place: Place) -> None:
    quota(place, "q", {"pods": "1"})
    place.create(manifests.replica_set("puppet", 3))
    failing = wait_until(
        lambda: condition_of(place.get("replicasets", "puppet"), "ReplicaFailure"), what="a ReplicaFailure"
    )
    wait_until(lambda: place.get("replicasets", "puppet")["status"]["replicas"] == 1, what="one pod to be counted")
    events = [each for each in place.all("events") if each["reason"] == "FailedCreate"]
    place.patch("resourcequotas", "q", {"spec": {"hard": {"pods": "9"}}})
    place.wait_ready_pods(3)
    wait_until(
        lambda: condition_of(place.get("replicasets", "puppet"), "ReplicaFailure") is None, what="no ReplicaFailure"
    )

    assert failing is not None
    said = "is forbidden: exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1"
    assert (failing["status"], failing["reason"]) == ("True", "FailedCreate")
    assert failing["message"].startswith('pods "puppet-') and failing["message"].endswith(said)
    assert events and all(each["type"] == "Warning" and said in each["message"] for each in events)
    assert any(each["message"].startswith('Error creating: pods "puppet-') for each in events)
    assert used(place, "q") == {"pods": "3"}


@pytest.mark.states("Quota-ReplicaSet")
def test_a_deployment_shows_that_its_pods_are_refused(place: Place) -> None:
    quota(place, "q", {"pods": "1"})
    place.create(manifests.deployment("web", 2))

    told = wait_until(lambda: condition_of(place.get("deployments", "web"), "ReplicaFailure"), what="a ReplicaFailure")

    assert told is not None and (told["status"], told["reason"]) == ("True", "FailedCreate")
    place.patch("deployments", "web", {"spec": {"replicas": 1}})
    rollouts.complete(place, "web")


@pytest.mark.states("Quota-valid")
@pytest.mark.parametrize(
    ("spec", "code", "message"),
    [
        ({"hard": {"pods": "-1"}}, 422, 'spec.hard[pods]: Invalid value: "-1": must be greater than or equal to 0'),
        ({"hard": {"pods": "1.5"}}, 422, 'spec.hard[pods]: Invalid value: "1500m": must be an integer'),
        ({"hard": {"pods": "1"}, "scopes": ["No"]}, 422, 'spec.scopes: Invalid value: ["No"]: unsupported scope'),
        (
            {"hard": {"cpu": "1"}, "scopes": ["BestEffort"]},
            422,
            'spec.scopes: Invalid value: ["BestEffort"]: unsupported scope applied to resource',
        ),
        (
            {"hard": {"pods": "1"}, "scopes": ["BestEffort", "NotBestEffort"]},
            422,
            'spec.scopes: Invalid value: ["BestEffort","NotBestEffort"]: conflicting scopes',
        ),
        (
            {"hard": {"nonsense": "1"}},
            422,
            '[spec.hard[nonsense]: Invalid value: "nonsense": must be a standard resource type or fully qualified, '
            'spec.hard[nonsense]: Invalid value: "nonsense": must be a standard resource for quota]',
        ),
        (
            {"hard": {"cpu": "x"}},
            400,
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
    ],
)
def test_a_quota_that_is_none_is_refused(place: Place, spec: Obj, code: int, message: str) -> None:
    broken = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q"}, "spec": spec}

    got, told = make(place, broken)

    head = (
        'ResourceQuota "q" is invalid: '
        if code == 422
        else 'ResourceQuota in version "v1" cannot be handled as a ResourceQuota: '
    )
    assert (got, told) == (code, head + message)


@pytest.mark.states("Quota-counts")
def test_kubectl_shows_what_is_used(place: Place) -> None:
    quota(place, "q", {"pods": "2", "limits.cpu": "1"})

    columns = place.kubectl("get", "quota").splitlines()
    rows = place.kubectl("describe", "quota", "q").splitlines()

    assert columns[0].split() == ["NAME", "REQUEST", "LIMIT", "AGE"]
    assert columns[1].split()[:5] == ["q", "pods:", "0/2", "limits.cpu:", "0/1"]
    assert [row.split() for row in rows[-2:]] == [["limits.cpu", "0", "1"], ["pods", "0", "2"]]
