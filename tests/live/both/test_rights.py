"""Rights of service accounts: their tokens, roles and bindings, refusals, and what kubectl auth tells."""

from __future__ import annotations

import base64
import json
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from segue.model.objects import Obj
from tests.live.both import manifests
from tests.live.both.rollouts import wait_until
from tests.live.both.test_api_answers import MP, ask
from tests.live.both.world import Place

pytestmark = pytest.mark.live

STATEMENTS = {
    "Rights-tokens": "A token of a service account says whose it is and until when; a made-up one is nobody's (401).",
    "Rights-refusals": "Without a role everything but discovery is 403, which names user, verb, resource and place.",
    "Rights-roles": "Roles hold in their namespace, ClusterRoles where they are bound; names and subresources count.",
    "Rights-defaults": "cluster-admin, admin, edit and view are there; a role that gathers others has their rules.",
    "Rights-reviews": "kubectl auth can-i and whoami answer for oneself and, with --as, for others.",
    "Rights-valid": "Rules without verbs, resources or groups are refused, and a binding keeps its role.",
}
NOT_COVERED: dict[str, str] = {}
DIFFERENCES = {
    "Rights-tokens": "embedded signs with HS256 (real: ES256 or RS256) and forgets the token of a deleted account at"
    " once (real: after up to 10 s); pods get no token of their own",
    "Rights-roles": "embedded lets whoever may write roles write any (real: only rights that he has himself)",
    "Rights-defaults": "embedded has none of the roles for a cluster's own parts (system:controller:..., system:node)",
}
GROUP = "rbac.authorization.k8s.io"


class Bob:
    """kubectl in the hands of a service account `bob` of the place."""

    def __init__(self, place: Place, kubeconfig: Path, token: str) -> None:
        self.place = place
        self.token = token
        self.name = f"system:serviceaccount:{place.namespace}:bob"
        self._kubeconfig = kubeconfig

    def run(self, *argv: str, token: str = "") -> subprocess.CompletedProcess[str]:
        options = ["--kubeconfig", str(self._kubeconfig), "--token", token or self.token]
        return self.place.run("kubectl", *options, "-n", self.place.namespace, *argv)

    def says(self, *argv: str) -> str:
        """What he is told, the newline off: output, or the error without its head."""
        done = self.run(*argv)
        head = "Error from server (Forbidden): "
        return (done.stdout or done.stderr).removeprefix(head).rstrip("\n")

    def cannot(self, verb: str, resource: str, group: str = "", where: str | None = None, name: str = "") -> str:
        """The refusal in Kubernetes' words."""
        whole = f"{resource.partition('/')[0]}.{group}" if group else resource.partition("/")[0]
        subject = f'{whole} "{name}"' if name else whole
        place = f'in the namespace "{self.place.namespace}"' if where is None else where
        what = f'resource "{resource}" in API group "{group}" {place}'
        return f'{subject} is forbidden: User "{self.name}" cannot {verb} {what}'


@pytest.fixture
def bob(place: Place, tmp_path: Path) -> Bob:
    place.kubectl("create", "serviceaccount", "bob")
    text = place.kubectl("config", "view", "--raw", "--flatten")
    nobody = re.sub(r"(?m)^ +(token|client-certificate-data|client-key-data): .*\n", "", text)
    kubeconfig = tmp_path / "nobody"
    kubeconfig.write_text(nobody.replace("user:\n", "user: {}\n"))
    return Bob(place, kubeconfig, place.kubectl("create", "token", "bob").strip())


@pytest.fixture
def cluster_wide(place: Place) -> Iterator[Callable[[Obj], str]]:
    """Makes objects that lie in no namespace, under a name of this place's own; they go with the test."""
    made: list[str] = []

    def make(obj: Obj) -> str:
        name = f"{place.namespace}-{len(made)}"
        path = f"/apis/{GROUP}/v1/{obj['kind'].lower()}s"
        code, told = ask(place, "POST", path, {**obj, "metadata": {"name": name, **obj.get("metadata", {})}})
        assert code == 201, told
        made.append(f"{path}/{name}")
        return name

    yield make
    for path in made:
        ask(place, "DELETE", path)


def role(place: Place, name: str, *rules: Obj) -> None:
    path = f"/apis/{GROUP}/v1/namespaces/{place.namespace}/roles"
    code, told = ask(place, "POST", path, {"metadata": {"name": name}, "rules": list(rules)})
    assert code == 201, told


def rule(verbs: str, resources: str, group: str = "", **more: object) -> Obj:
    return {"verbs": verbs.split(","), "resources": resources.split(","), "apiGroups": [group], **more}


def bind(place: Place, name: str, what: str, who: str = "") -> None:
    """Bind `role/x` or `clusterrole/x` to bob, or to a group."""
    kind, _, wanted = what.partition("/")
    subject = ["--group", who] if who else ["--serviceaccount", f"{place.namespace}:bob"]
    place.kubectl("create", "rolebinding", name, f"--{kind}={wanted}", *subject)


@pytest.mark.states("Rights-tokens")
def test_a_token_says_whose_it_is_and_until_when(place: Place, bob: Bob) -> None:
    path = place.path("serviceaccounts", "bob", "token")
    asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 600}}
    code, told = ask(place, "POST", path, asked)
    short = ask(place, "POST", path, {**asked, "spec": {"expirationSeconds": 599}})

    middle = told["status"]["token"].split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(middle + "=" * (-len(middle) % 4)))
    account = place.get("serviceaccounts", "bob")["metadata"]
    assert code == 201
    assert (claims["sub"], claims["exp"] - claims["iat"]) == (bob.name, 600)
    assert claims["kubernetes.io"] == {
        "namespace": place.namespace,
        "serviceaccount": {"name": "bob", "uid": account["uid"]},
    }
    assert (short[0], short[1]["message"]) == (
        422,
        'TokenRequest.authentication.k8s.io "" is invalid: spec.expirationSeconds: Invalid value: 599: '
        "may not specify a duration less than 10 minutes",
    )


@pytest.mark.states("Rights-tokens")
def test_a_token_is_good_for_the_one_it_was_given_to(place: Place, bob: Bob) -> None:
    begin, _, end = bob.token.rpartition(".")
    who = bob.run("auth", "whoami", "-o", "json").stdout
    pods = ("get", "--raw", place.path("pods"))
    changed = bob.run(*pods, token=f"{begin}.{end[:-6]}AAAAAA")
    for_others = place.kubectl("create", "token", "bob", "--audience=somebody").strip()
    elsewhere = bob.run(*pods, token=for_others)

    info = json.loads(who)["status"]["userInfo"]
    groups = ["system:serviceaccounts", f"system:serviceaccounts:{place.namespace}", "system:authenticated"]
    assert (info["username"], info["groups"]) == (bob.name, groups)
    assert info["uid"] == place.get("serviceaccounts", "bob")["metadata"]["uid"]
    said = "error: You must be logged in to the server (Unauthorized)\n"
    assert (changed.stderr, elsewhere.stderr) == (said, said)


@pytest.mark.states("Rights-refusals")
def test_without_a_role_nothing_but_discovery_is_allowed(place: Place, bob: Bob) -> None:
    scale = f"/apis/apps/v1/namespaces/{place.namespace}/deployments/web/scale"
    said = {
        "list": bob.says("get", "pods"),
        "get": bob.says("get", "pods", "web"),
        "cluster": bob.says("get", "nodes"),
        "everywhere": bob.says("get", "pods", "-A"),
        "group": bob.says("get", "--raw", scale),
        "path": bob.says("get", "--raw", "/metrics"),
        "namespace": bob.says("get", "namespace", place.namespace),
    }
    create = bob.run("create", "configmap", "x").stderr

    all_of = "at the cluster scope"
    assert said == {
        "list": bob.cannot("list", "pods"),
        "get": bob.cannot("get", "pods", name="web"),
        "cluster": bob.cannot("list", "nodes", where=all_of),
        "everywhere": bob.cannot("list", "pods", where=all_of),
        "group": bob.cannot("get", "deployments/scale", "apps", name="web"),
        "path": f'forbidden: User "{bob.name}" cannot get path "/metrics"',
        "namespace": bob.cannot("get", "namespaces", name=place.namespace),
    }
    assert bob.cannot("create", "configmaps") in create
    assert '"APIResourceList"' in bob.says("get", "--raw", "/apis/apps/v1")
    assert bob.says("get", "--raw", "/version").startswith("{")


@pytest.mark.states("Rights-roles")
def test_a_role_gives_what_its_rules_name(place: Place, bob: Bob) -> None:
    place.create(manifests.deployment("web", 0))
    role(
        place,
        "reader",
        rule("get,list,watch", "pods,pods/log"),
        rule("get,patch", "deployments/scale", "apps"),
        rule("get", "configmaps", resourceNames=["one"]),
        rule("*", "*", "batch"),
    )
    bind(place, "reads", "role/reader")

    answers = {
        question: bob.says("auth", "can-i", *question.split())
        for question in (
            "list pods",
            "delete pods",
            "get pods --subresource=log",
            "get pods --subresource=exec",
            "get configmaps/one",
            "get configmaps/two",
            "list configmaps",
            "delete jobs.batch",
            "list pods -n default",
            "patch deployments.apps/web --subresource=scale",
            "patch deployments.apps/web",
        )
    }
    listed, deleted = bob.says("get", "pods"), bob.says("delete", "pod", "web")

    yes = {"list pods", "get pods --subresource=log", "get configmaps/one", "delete jobs.batch"}
    yes.add("patch deployments.apps/web --subresource=scale")
    assert {question for question, answer in answers.items() if answer.endswith("yes")} == yes
    assert listed == f"No resources found in {place.namespace} namespace."
    assert deleted == bob.cannot("delete", "pods", name="web")


@pytest.mark.states("Rights-roles")
def test_a_role_that_is_not_there_gives_nothing_and_is_named(place: Place, bob: Bob) -> None:
    bind(place, "reads", "role/nothing")

    assert bob.says("get", "pods") == bob.cannot("list", "pods") + (
        ': rbac: RBAC: role.rbac.authorization.k8s.io "nothing" not found'
    )


@pytest.mark.states("Rights-roles")
def test_a_cluster_role_holds_where_it_is_bound(place: Place, bob: Bob, cluster_wide: Callable[[Obj], str]) -> None:
    named = cluster_wide({"kind": "ClusterRole", "rules": [rule("list", "configmaps,nodes")]})
    bind(place, "here", f"clusterrole/{named}")
    here = [bob.says("auth", "can-i", "list", "configmaps", "-n", where) for where in (place.namespace, "default")]
    nodes = bob.says("get", "nodes")
    subject = {"kind": "ServiceAccount", "name": "bob", "namespace": place.namespace}
    reference = {"apiGroup": GROUP, "kind": "ClusterRole", "name": named}
    cluster_wide({"kind": "ClusterRoleBinding", "subjects": [subject], "roleRef": reference})
    everywhere = bob.says("auth", "can-i", "list", "configmaps", "-n", "default")

    assert here == ["yes", "no"]
    assert nodes == bob.cannot("list", "nodes", where="at the cluster scope")
    assert everywhere == "yes"
    assert bob.run("get", "nodes").returncode == 0


@pytest.mark.states("Rights-defaults")
def test_view_edit_and_admin_are_there_and_cluster_admin_may_all(place: Place, bob: Bob) -> None:
    questions = ("get pods", "get secrets", "create deployments.apps", "create roles.rbac.authorization.k8s.io")
    found = {}
    for name in ("view", "edit", "admin", "cluster-admin"):
        bind(place, name, f"clusterrole/{name}", who=f"system:serviceaccounts:{place.namespace}")
        found[name] = [bob.says("auth", "can-i", *question.split()) for question in questions]
        place.kubectl("delete", "rolebinding", name)

    assert found == {
        "view": ["yes", "no", "no", "no"],
        "edit": ["yes", "yes", "yes", "no"],
        "admin": ["yes"] * 4,
        "cluster-admin": ["yes"] * 4,
    }


@pytest.mark.states("Rights-defaults")
def test_a_role_that_gathers_others_has_their_rules(place: Place, bob: Bob, cluster_wide: Callable[[Obj], str]) -> None:
    label = {f"{GROUP}/aggregate-to-{place.namespace}": "true"}
    first = cluster_wide(
        {"kind": "ClusterRole", "rules": [], "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": label}]}}
    )
    cluster_wide({"kind": "ClusterRole", "rules": [rule("list", "secrets")], "metadata": {"labels": label}})
    bind(place, "gathers", f"clusterrole/{first}")

    wait_until(lambda: bob.says("auth", "can-i", "list", "secrets") == "yes", what="the rules to be gathered")


@pytest.mark.states("Rights-reviews")
def test_reviews_say_by_which_binding(place: Place, bob: Bob) -> None:
    role(place, "reader", rule("list", "pods"))
    bind(place, "reads", "role/reader")
    asked = {"namespace": place.namespace, "verb": "list", "resource": "pods"}
    review: Obj = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview"}
    path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"

    allowed = ask(place, "POST", path, {**review, "spec": {"user": bob.name, "resourceAttributes": asked}})
    refused = ask(place, "POST", path, {**review, "spec": {"user": "jane", "resourceAttributes": asked}})
    nothing = ask(place, "POST", path, {**review, "spec": {"user": "jane"}})

    binding = f'RoleBinding "reads/{place.namespace}" of Role "reader"'
    reason = f'RBAC: allowed by {binding} to ServiceAccount "bob/{place.namespace}"'
    assert (allowed[0], allowed[1]["status"]) == (201, {"allowed": True, "reason": reason})
    assert (refused[0], refused[1]["status"]) == (201, {"allowed": False})
    assert nothing[0] == 422
    assert nothing[1]["message"] == (
        '.authorization.k8s.io "" is invalid: spec: Invalid value: null: '
        "exactly one of nonResourceAttributes or resourceAttributes must be specified"
    )


@pytest.mark.states("Rights-reviews")
def test_an_admin_may_ask_and_act_for_others_and_others_may_not(place: Place, bob: Bob) -> None:
    role(place, "reader", rule("list", "pods"))
    bind(place, "reads", "role/reader")

    may = place.run("kubectl", "auth", "can-i", "list", "pods", "--as", bob.name).stdout
    may_not = place.run("kubectl", "auth", "can-i", "list", "secrets", "--as", bob.name).stdout
    jane = place.run("kubectl", "get", "pods", "--as", "jane").stderr
    masters = place.run("kubectl", "get", "pods", "--as", "jane", "--as-group", "system:masters")
    own = bob.run("get", "--raw", place.path("pods"), "--as", "jane").stderr
    listed = bob.says("auth", "can-i", "--list")

    assert (may, may_not) == ("yes\n", "no\n")
    assert 'User "jane" cannot list resource "pods"' in jane
    assert masters.returncode == 0
    assert 'cannot impersonate-on:user-info:list resource "pods"' in own
    assert re.search(r"(?m)^pods +\[\] +\[\] +\[list\]$", listed)


@pytest.mark.states("Rights-valid")
def test_roles_and_bindings_that_are_none_are_refused(place: Place) -> None:
    base = f"/apis/{GROUP}/v1/namespaces/{place.namespace}"
    reference = {"apiGroup": GROUP, "kind": "Role", "name": "r"}
    rules = [rule("", "pods") | {"verbs": []}, {"verbs": ["get"]}, {"verbs": ["get"], "nonResourceURLs": ["/x"]}]
    bad_role = ask(place, "POST", f"{base}/roles", {"metadata": {"name": "r"}, "rules": rules})
    subject = {"apiGroup": GROUP, "kind": "User", "name": ""}
    bad = ask(
        place, "POST", f"{base}/rolebindings", {"metadata": {"name": "b"}, "roleRef": reference, "subjects": [subject]}
    )
    ask(place, "POST", f"{base}/rolebindings", {"metadata": {"name": "b"}, "roleRef": reference})
    other = ask(place, "PATCH", f"{base}/rolebindings/b", {"roleRef": {"name": "other"}}, MP)

    fields = ["rules[1].apiGroups", "rules[1].resources", "rules[2].nonResourceURLs", "rules[0].verbs"]
    assert [each["field"] for each in bad_role[1]["details"]["causes"]] == fields
    assert bad[1]["message"].endswith("is invalid: subjects[0].name: Required value")
    assert (other[0], other[1]["details"]["causes"][0]["field"]) == (422, "roleRef")
    assert other[1]["message"].endswith("field is immutable")
