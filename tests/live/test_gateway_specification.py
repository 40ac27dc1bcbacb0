"""Routes do what the Gateway API's specification says of matches, filters, timeouts and references, by either proxy."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from segue.host import embedded
from segue.host.isolation import detect
from segue.host.settings import ClusterSettings
from segue.model.objects import Obj
from tests.live.conftest import Cluster, start_cluster
from tests.live.gateway_world import BOTH, GATEWAY, PORT, apply, conditions, wait_accepted
from tests.waiting import wait_until

pytestmark = [
    pytest.mark.live,
    pytest.mark.full,
    pytest.mark.skipif(detect().kind != "namespaces", reason="clients have no network of their own in loopback mode"),
]

IMAGES = """
images:
  - image: host.org/echo:*
    command: ["{python}", "-I", "-S", "%s", "8000"]
    env: {WHO: "{tag}"}
"""
BACKEND = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: WHO, namespace: SPACE}
spec:
  selector: {matchLabels: {app: WHO}}
  template:
    metadata: {labels: {app: WHO}}
    spec:
      containers:
        - name: echo
          image: host.org/echo:WHO
          readinessProbe: {httpGet: {path: /health, port: 8000}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: WHO, namespace: SPACE}
spec:
  selector: {app: WHO}
  ports: [{port: 80, targetPort: 8000}]
---
"""
ROUTE = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web}
spec:
  parentRefs: [{name: door}]
  rules:
    - matches: [{path: {type: PathPrefix, value: /}}]
      backendRefs: [{name: a, port: 80}]
    - matches: [{path: {type: PathPrefix, value: /pre}}]
      backendRefs: [{name: b, port: 80}]
    - matches: [{path: {type: PathPrefix, value: /pre/deeper}}]
      backendRefs: [{name: a, port: 80}]
    - matches: [{path: {type: Exact, value: /pre/deeper/exact}}]
      backendRefs: [{name: b, port: 80}]
    - matches: [{headers: [{name: X-Kind, value: b}]}, {queryParams: [{name: who, value: b}]}]
      backendRefs: [{name: b, port: 80}]
    - matches: [{headers: [{name: X-Kind, value: b}, {name: X-More, type: RegularExpression, value: "a+"}]}]
      backendRefs: [{name: a, port: 80}]
    - matches: [{path: {type: PathPrefix, value: /m}, method: POST}]
      backendRefs: [{name: b, port: 80}]
    - matches: [{path: {type: PathPrefix, value: /head}}]
      filters:
        - type: RequestHeaderModifier
          requestHeaderModifier: {set: [{name: X-Set, value: "50%"}], add: [{name: X-Add, value: b}], remove: [X-Gone]}
        - type: ResponseHeaderModifier
          responseHeaderModifier: {set: [{name: X-Outer, value: "2"}], remove: [X-Inner]}
      backendRefs: [{name: a, port: 80}]
    - matches: [{path: {type: PathPrefix, value: /old}}]
      filters:
        - type: RequestRedirect
          requestRedirect:
            {hostname: example.org, statusCode: 301, path: {type: ReplacePrefixMatch, replacePrefixMatch: /new}}
    - matches: [{path: {type: PathPrefix, value: /rewritten}}]
      filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /}}}]
      backendRefs: [{name: a, port: 80}]
    - matches: [{path: {type: PathPrefix, value: /slow}}]
      timeouts: {request: 300ms}
      backendRefs: [{name: a, port: 80}]
    - matches: [{path: {type: PathPrefix, value: /elsewhere}}]
      backendRefs: [{name: c, namespace: other, port: 80}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: hosted}
spec:
  parentRefs: [{name: door}]
  hostnames: [shop.example, "*.shop.example"]
  rules: [{backendRefs: [{name: b, port: 80}]}]
"""
GRANT = """
apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: {name: in, namespace: other}
spec:
  from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: default}]
  to: [{group: "", kind: Service}]
"""
ASK = """
import http.client, json, sys
method, path, headers = sys.argv[2], sys.argv[3], json.loads(sys.argv[4])
way = http.client.HTTPConnection(*sys.argv[1].split(":"), timeout=5)
way.request(method, path, headers=headers)
answer = way.getresponse()
print(json.dumps([answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read().decode()]))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """An answer: `body` is what the backend was asked, {} where none was."""

    code: int
    headers: dict[str, str]
    body: Obj

    @property
    def who(self) -> str:
        return str(self.body.get("who", f"nobody: {self.code}"))


@pytest.fixture
def echoing(tmp_path: Path) -> Iterator[Cluster]:
    images = tmp_path / "images.yaml"
    images.write_text(IMAGES % (Path(__file__).parent / "echo_server.py"))
    cluster = start_cluster(tmp_path / "default", ClusterSettings(image_maps=(str(images),)))
    cluster.kubectl("create", "namespace", "other")
    for who, space in (("a", "default"), ("b", "default"), ("c", "other")):
        apply(cluster, BACKEND.replace("WHO", who).replace("SPACE", space))
    yield cluster
    embedded.stop(cluster.state)


def ask(cluster: Cluster, path: str, method: str = "GET", **headers: str) -> Said:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    address = f"{cluster.running.node_ip}:{PORT}"
    enter = [sys.executable, "-m", "segue.host.network.enter", "--state", str(cluster.state), "--"]
    script = [sys.executable, "-I", "-S", "-c", ASK, address, method, path, json.dumps(named)]
    done = subprocess.run([*enter, *script], env=cluster.env, text=True, capture_output=True, check=True, timeout=20)
    code, answered, body = json.loads(done.stdout)
    return Said(code=code, headers=answered, body=json.loads(body) if body.startswith("{") else {})


@BOTH
def test_routes_do_what_the_specification_says(echoing: Cluster, by: str) -> None:
    cluster = echoing
    apply(cluster, GATEWAY.replace("ClassName: segue", f"ClassName: {by}") + "---" + ROUTE)
    cluster.wait_ready(2, "app in (a,b)")
    wait_accepted(cluster)
    wait_accepted(cluster, "hosted")

    # The longest prefix by whole segments; exact before prefix.
    # A proxy's workers may take it over a moment after its own dump shows it, where the machine is busy.
    wait_until(lambda: ask(cluster, "/").who == "a", limit_s=5, what="the routes are served")
    assert [ask(cluster, path).who for path in ("/pre", "/pre/", "/pre/x", "/prefix")] == ["b", "b", "b", "a"]
    assert [ask(cluster, f"/pre/deeper{end}").who for end in ("", "/x", "/exact", "/exact/x")] == ["a", "a", "b", "a"]
    # A header, a query parameter; all of a match, any of the matches; more headers first.
    assert ask(cluster, "/", X_Kind="b").who == "b"
    assert ask(cluster, "/?who=b").who == "b"
    assert ask(cluster, "/", X_Kind="c").who == "a"
    assert ask(cluster, "/", X_Kind="b", X_More="aaa").who == "a"
    assert ask(cluster, "/", X_Kind="b", X_More="aab").who == "b"
    assert (ask(cluster, "/m").who, ask(cluster, "/m", "POST").who) == ("a", "b")
    # Hostnames, with wildcards and ports.
    assert ask(cluster, "/", Host="shop.example").who == "b"
    assert ask(cluster, "/", Host="eu.shop.example:8080").who == "b"
    assert ask(cluster, "/", Host="other.example").who == "a"

    changed = ask(cluster, "/head", X_Gone="1", X_Add="a", X_Set="old")
    assert changed.body["headers"]["x-set"] == "50%"
    assert "x-gone" not in changed.body["headers"]
    assert "b" in changed.body["headers"]["x-add"]
    assert changed.headers["x-outer"] == "2"
    assert "x-inner" not in changed.headers
    moved = ask(cluster, "/old/page?x=1")
    assert moved.code == 301
    assert moved.headers["location"].startswith("http://example.org")
    assert moved.headers["location"].split("?")[0].endswith("/new/page")
    assert [ask(cluster, f"/rewritten{end}").body["path"] for end in ("", "/", "/x/y")] == ["/", "/", "/x/y"]
    assert ask(cluster, "/slow").code == 504

    # Another namespace's Service needs its leave.
    assert conditions(cluster, "httproute", "web")["ResolvedRefs"] == ("False", "RefNotPermitted")
    assert ask(cluster, "/elsewhere").code == 500
    apply(cluster, GRANT)
    wait_until(
        lambda: conditions(cluster, "httproute", "web").get("ResolvedRefs") == ("True", "ResolvedRefs"),
        limit_s=10,
        what="the grant is seen",
    )
    assert ask(cluster, "/elsewhere").who == "c"


def test_requests_are_mirrored_by_envoy_and_refused_by_haproxy(echoing: Cluster) -> None:
    cluster = echoing
    mirror = "filters: [{type: RequestMirror, requestMirror: {backendRef: {name: b, port: 80}}}]"
    rule = f"  rules: [{{backendRefs: [{{name: a, port: 80}}], {mirror}}}]\n"
    route = ROUTE.partition("  rules:")[0] + rule
    apply(cluster, GATEWAY + "---" + route)
    cluster.wait_ready(2, "app in (a,b)")
    wait_accepted(cluster)
    assert ask(cluster, "/seen-twice").who == "a"
    wait_until(
        lambda: "/seen-twice" in cluster.kubectl("logs", "-l", "app=b"), limit_s=5, what="the mirrored request arrives"
    )
    apply(cluster, GATEWAY.replace("ClassName: segue", "ClassName: segue-haproxy"))
    wait_until(
        lambda: conditions(cluster, "httproute", "web").get("Accepted") == ("False", "UnsupportedValue"),
        limit_s=10,
        what="it is refused",
    )
