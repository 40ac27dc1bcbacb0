"""From a CoreDNS that runs to the documents of a better one, and the slice that keeps its UDP flows meanwhile."""

from __future__ import annotations

from segue.dns.corefile import parsed
from segue.dns.rollout import CoreDns, changed_template, corefile_of, documents, quantity
from segue.drive.flow import Answer, Calls, Progress, Sleep
from segue.drive.keeping_flows import HOLD_S, keep_flows
from segue.model.http import ApiRequest, ApiResponse
from segue.model.objects import Obj, copy_of
from segue.release.config_pins import pinned

COREFILE = ".:53 {\n health {\n lameduck 25s\n }\n ready :8282\n kubernetes cluster.local\n}\n"
LABELS = {"k8s-app": "kube-dns"}
TEMPLATE: Obj = {
    "metadata": {"labels": LABELS},
    "spec": {
        "containers": [{"name": "coredns", "image": "c:1", "resources": {"limits": {"memory": "170Mi"}}}],
        "volumes": [
            {"name": "tls", "configMap": {"name": "other", "items": [{"key": "a", "path": "b"}]}},
            {
                "name": "config",
                "configMap": {"name": "coredns-0123456789", "items": [{"key": "x", "path": "Corefile"}]},
            },
        ],
    },
}
DEPLOYMENT: Obj = {"metadata": {"name": "coredns", "namespace": "dns"}, "spec": {"template": TEMPLATE}}


def test_the_template_says_which_configmap_counts() -> None:
    assert corefile_of(TEMPLATE) == ("coredns-0123456789", "x")
    assert corefile_of({"spec": {"containers": []}}) == ("", "")


def test_probes_grace_and_room_are_added_and_nothing_is_lowered() -> None:
    made, said = changed_template(TEMPLATE, parsed(COREFILE), 300)
    container = made["spec"]["containers"][0]

    assert container["readinessProbe"]["httpGet"] == {"path": "/ready", "port": 8282}
    assert container["livenessProbe"]["httpGet"] == {"path": "/health", "port": 8080}
    assert made["spec"]["terminationGracePeriodSeconds"] == 35
    assert container["resources"]["limits"]["memory"] == "300M"
    assert len(said) == 4
    assert changed_template(made, parsed(COREFILE), 100) == (made, ())
    assert (quantity("170Mi"), quantity("1G"), quantity("5"), quantity("much")) == (170 * 2**20, 1e9, 5, 0)


def test_the_copy_is_named_for_what_the_configmap_was_called_at_first() -> None:
    running = CoreDns(
        deployment=DEPLOYMENT, config="coredns-0123456789", origin="coredns", key="x", corefile="", others={"y": "z"}
    )
    config, deployment = pinned(documents(running, COREFILE, TEMPLATE))

    assert config.obj["data"] == {"x": COREFILE, "y": "z"}
    assert config.name.startswith("coredns-")
    assert config.name != running.config
    volumes = deployment.obj["spec"]["template"]["spec"]["volumes"]
    assert [one["configMap"]["name"] for one in volumes] == ["other", config.name]


# -- flows -----------------------------------------------------------------------------------------------------------


class Cluster:
    """Answers the flow: one Service, two old pods, and slices that change when they are told to."""

    def __init__(self) -> None:
        self.now_s, self.switched, self.made, self.deleted, self.refuses = 0.0, False, [], [], False  # type: ignore[var-annotated]
        port = {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": "dns"}
        spec = {"clusterIP": "10.96.0.10", "selector": LABELS, "ports": [port]}
        self.services: list[Obj] = [{"metadata": {"name": "kube-dns"}, "spec": spec}]
        container = {"ports": [{"name": "dns", "containerPort": 5353, "protocol": "UDP"}]}
        self.pods: list[Obj] = [
            {
                "metadata": {"name": ip, "uid": ip, "labels": {**LABELS, "x": "y"}},
                "spec": {"nodeName": "n", "containers": [container]},
                "status": {"podIP": ip},
            }
            for ip in ("10.0.0.1", "10.0.0.2")
        ]

    def answer(self, asked: ApiRequest) -> ApiResponse:
        if asked.method == "POST":
            if self.refuses:
                return ApiResponse(code=403, body={"message": "no"})
            self.made.append(asked.body)
            return ApiResponse(code=201, body={})
        if asked.method == "DELETE":
            self.deleted.append(asked.path.rpartition("/")[2])
            return ApiResponse(code=200, body={})
        ips = ["10.0.0.3"] if self.switched else ["10.0.0.1", "10.0.0.2"]
        theirs = {"metadata": {"name": "s"}, "endpoints": [{"addresses": [ip]} for ip in ips]}
        lists = {"services": self.services, "pods": self.pods, "endpointslices": [theirs, *self.made]}
        return ApiResponse(code=200, body={"items": copy_of({"a": lists[asked.path.rpartition("/")[2]]})["a"]})

    def run(self, *, switch_s: float, end_s: float = 1e9) -> float:
        """Until the flow has ended; when."""
        flow = keep_flows("dns", TEMPLATE, lambda: self.now_s >= end_s)
        asked = next(flow)
        while True:
            self.switched = self.now_s >= switch_s
            match asked:
                case Calls(requests=requests):
                    answer = Answer(now_s=self.now_s, responses=tuple(self.answer(one) for one in requests))
                case Sleep(for_s=for_s):
                    self.now_s += for_s
                    answer = Answer(now_s=self.now_s)
                case _:
                    assert isinstance(asked, Progress)
                    answer = Answer(now_s=self.now_s)
            try:
                asked = flow.send(answer)
            except StopIteration:
                return self.now_s


def test_a_slice_says_of_old_pods_that_they_serve_while_they_leave() -> None:
    cluster = Cluster()
    ended_s = cluster.run(switch_s=10.0)
    (made,) = cluster.made

    assert made["metadata"]["labels"]["kubernetes.io/service-name"] == "kube-dns"
    assert [one["uid"] for one in made["metadata"]["ownerReferences"]] == ["10.0.0.1", "10.0.0.2"]
    assert {tuple(one["conditions"].values()) for one in made["endpoints"]} == {(False, True, True)}
    assert made["ports"] == [{"name": "dns", "protocol": "UDP", "port": 5353}]
    assert 10.0 + HOLD_S <= ended_s <= 11.0 + HOLD_S
    assert cluster.deleted == ["kube-dns-leaving"]


def test_it_goes_with_a_release_that_ended_without_a_switch() -> None:
    cluster = Cluster()

    assert cluster.run(switch_s=1e9, end_s=5.0) < 6.0
    assert cluster.deleted == ["kube-dns-leaving"]


def test_who_may_not_write_slices_goes_on_without() -> None:
    cluster = Cluster()
    cluster.refuses = True

    assert cluster.run(switch_s=1e9) == 0.0
    assert (cluster.made, cluster.deleted) == ([], [])
    tcp = Cluster()
    tcp.services[0]["spec"]["ports"][0]["protocol"] = "TCP"
    assert tcp.run(switch_s=1e9) == 0.0
    assert tcp.made == []
