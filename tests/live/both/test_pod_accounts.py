"""What a pod knows of the API server: where it is, and a token of its own account, with that account's rights."""

from __future__ import annotations

import json
import ssl
from contextlib import closing
from http.client import HTTPSConnection

import pytest

from segue.cluster.node.account import MOUNT
from segue.model.objects import Obj
from tests.live.both.world import Place

pytestmark = pytest.mark.live

STATEMENTS = {
    "Pod-account": "A container is told where the API server is (KUBERNETES_SERVICE_HOST, _PORT), and finds ca.crt, "
    "its namespace and a token of its account, by which it has that account's rights and no others.",
    "Pod-account: none": "With automountServiceAccountToken: false, of pod or account, there is no token; the pod's "
    "word comes before the account's.",
    "Pod-account: ends": "The token ends with its pod.",
}
NOT_COVERED = {
    "Pod-account: renewal": "A kubelet renews tokens while the pod runs; the embedded cluster's last for a year.",
    "Pod-account: volume": "On a real cluster the files are a projected volume of the pod's spec, which admission adds;"
    " the embedded cluster's pods do not show it.",
}
DIFFERENCES: dict[str, str] = {}
VARIABLES = ("KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT", "KUBERNETES_SERVICE_PORT_HTTPS", "KUBERNETES_PORT")


def shell(name: str, account: str, **spec: object) -> Obj:
    container = {"name": "web", "image": "host.org/images/grace:v0.1"}
    inner = {"serviceAccountName": account, "terminationGracePeriodSeconds": 1, "containers": [container], **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": "web"}}, "spec": inner}


def read(place: Place, pod: str, name: str) -> str:
    return place.kubectl("exec", pod, "--", "cat", f"{MOUNT}/{name}")


def ask(place: Place, where: tuple[str, int], ca: str, token: str, path: str) -> tuple[int, Obj]:
    """As a program in a pod does it: the address and the authority that the pod was given, and its token."""
    tls = ssl.create_default_context(cadata=ca)
    with closing(HTTPSConnection(*where)) as way:
        way.sock = tls.wrap_socket(place.connect(*where), server_hostname=where[0])
        way.request("GET", path, headers={"Authorization": f"Bearer {token}"})
        answer = way.getresponse()
        return answer.status, json.loads(answer.read())


@pytest.mark.states("Pod-account", "Pod-account: ends")
def test_a_pod_acts_as_its_account_until_it_ends(place: Place) -> None:
    place.kubectl("create", "serviceaccount", "bob")
    place.kubectl("create", "role", "reader", "--verb=list", "--resource=configmaps")
    place.kubectl("create", "rolebinding", "reader", "--role=reader", f"--serviceaccount={place.namespace}:bob")
    place.create(shell("web", "bob"))
    place.wait_ready("web")
    said = place.kubectl("exec", "web", "--", "sh", "-c", "; ".join(f"echo ${name}" for name in VARIABLES)).split()
    host, port, https, url = said
    ca, token = read(place, "web", "ca.crt"), read(place, "web", "token").strip()
    where, root = (host, int(port)), f"/api/v1/namespaces/{place.namespace}"

    assert (https, url) == (port, f"tcp://{host}:{port}")
    assert host == place.kubectl("get", "service", "kubernetes", "-n", "default", "-o", "jsonpath={.spec.clusterIP}")
    assert read(place, "web", "namespace").strip() == place.namespace
    assert ask(place, where, ca, token, f"{root}/configmaps")[0] == 200
    code, told = ask(place, where, ca, token, f"{root}/pods")
    assert (code, f"system:serviceaccount:{place.namespace}:bob" in told["message"]) == (403, True)
    assert ask(place, where, ca, "nobodys", f"{root}/configmaps")[0] == 401

    place.delete("pods", "web", grace_s=0)
    place.wait_gone("pods", "web")
    assert _refused(place, where, ca, token, f"{root}/configmaps")


def _refused(place: Place, where: tuple[str, int], ca: str, token: str, path: str) -> bool:
    """Whether the token is no longer one; an API server may believe it for some seconds more."""
    for _ in range(100):
        if ask(place, where, ca, token, path)[0] == 401:
            return True
        place.get("serviceaccounts", "bob")
    return False


@pytest.mark.states("Pod-account: none")
def test_who_wants_no_token_gets_none(place: Place) -> None:
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "shy"}}
    place.create({**account, "automountServiceAccountToken": False})
    place.create(
        shell("quiet", "default", automountServiceAccountToken=False),
        shell("shy", "shy"),
        shell("loud", "shy", automountServiceAccountToken=True),
    )
    for name in ("quiet", "shy", "loud"):
        place.wait_ready(name)
    look = ["sh", "-c", f"test -e {MOUNT}/token && echo yes || echo no"]

    found = {name: place.kubectl("exec", name, "--", *look).strip() for name in ("quiet", "shy", "loud")}
    assert found == {"quiet": "no", "shy": "no", "loud": "yes"}
