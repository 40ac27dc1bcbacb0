"""The turn of the supervisor: a Lease by a pod's own account, which one pod has at a time."""

from __future__ import annotations

import base64
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from segue.app.lease import HELD_S, Api, Lease, NoAnswer
from segue.model.objects import Obj
from tests.live.both.world import Place

pytestmark = pytest.mark.live

STATEMENTS = {
    "segue supervise: turn": "A Lease is one pod's until it is given back or no longer renewed; without rights, or "
    "without an API server, that is said.",
}
NOT_COVERED: dict[str, str] = {}
DIFFERENCES: dict[str, str] = {}
ROLE: Obj = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "Role",
    "metadata": {"name": "turns"},
    "rules": [{"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "create", "update"]}],
}


@pytest.fixture
def account(place: Place, tmp_path: Path) -> Api:
    """The API as the account `bob` of the place has it, who may nothing yet."""
    place.kubectl("create", "serviceaccount", "bob")
    kubeconfig = yaml.safe_load(Path(place.env["KUBECONFIG"]).read_text())
    cluster: Obj = kubeconfig["clusters"][0]["cluster"]
    (tmp_path / "ca.crt").write_bytes(base64.b64decode(cluster["certificate-authority-data"]))
    (tmp_path / "token").write_text(place.kubectl("create", "token", "bob"))
    (tmp_path / "namespace").write_text(place.namespace)
    server = urlsplit(str(cluster["server"]))
    env = {"KUBERNETES_SERVICE_HOST": str(server.hostname), "KUBERNETES_SERVICE_PORT": str(server.port)}
    return Api(env, account=str(tmp_path))


def allow(place: Place, tmp_path: Path) -> None:
    (tmp_path / "role.yaml").write_text(yaml.safe_dump(ROLE))
    place.kubectl("apply", "-f", str(tmp_path / "role.yaml"))
    place.kubectl("create", "rolebinding", "turns", "--role=turns", f"--serviceaccount={place.namespace}:bob")


@pytest.mark.states("segue supervise: turn")
def test_one_has_the_turn_until_it_is_given_back(place: Place, account: Api, tmp_path: Path) -> None:
    allow(place, tmp_path)
    one, other = Lease(account, "turn", "pod-1"), Lease(account, "turn", "pod-2")
    now_s = time.time()

    assert (one.take(now_s), other.take(now_s), one.take(now_s + 1)) == (True, False, True)
    other.give_back()
    assert not other.take(now_s + 1)
    one.give_back()
    assert (other.take(now_s + 2), one.take(now_s + 2)) == (True, False)


@pytest.mark.states("segue supervise: turn")
def test_who_does_not_renew_loses_the_turn(place: Place, account: Api, tmp_path: Path) -> None:
    allow(place, tmp_path)
    now_s = time.time()
    assert Lease(account, "turn", "pod-1").take(now_s)

    assert not Lease(account, "turn", "pod-2").take(now_s + HELD_S - 1)
    assert Lease(account, "turn", "pod-2").take(now_s + HELD_S + 1)


@pytest.mark.states("segue supervise: turn")
def test_without_rights_that_is_said(account: Api) -> None:
    with pytest.raises(NoAnswer, match=r"403 leases.*forbidden"):
        Lease(account, "turn", "pod-1").take(time.time())


def test_where_nothing_answers_that_is_said(tmp_path: Path) -> None:
    nobody = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": "1"}
    with pytest.raises(NoAnswer, match="no API server is known"):
        Lease(Api({}), "turn", "pod-1").take(1.0)
    with pytest.raises(NoAnswer, match="no account of its own"):
        Lease(Api(nobody, account=str(tmp_path)), "turn", "pod-1").take(1.0)
    for name in ("token", "namespace"):
        (tmp_path / name).write_text("x")
    with pytest.raises(NoAnswer, match="does not answer"):
        Lease(Api(nobody, account=str(tmp_path)), "turn", "pod-1").take(1.0)
