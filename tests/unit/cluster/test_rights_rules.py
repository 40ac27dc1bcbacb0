"""Roles, bindings and tokens of service accounts, without a socket."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from segue.cluster.api import ADMIN, ApiUser
from segue.cluster.api.access import Gate, wish_of
from segue.cluster.api.results import VIEWER
from segue.cluster.api.routes import parse_route
from segue.cluster.rights.defaults import ensure_default_roles
from segue.cluster.rights.rules import Person, Wish, judge
from segue.cluster.rights.tokens import ISSUER, Tokens
from segue.model.errors import StatusError
from segue.model.http import ApiRequest
from segue.model.objects import Obj, Ref
from tests.unit.cluster.api_world import NOON_S, ApiWorld

GROUP = "rbac.authorization.k8s.io"
BOB = Person(name="system:serviceaccount:default:bob", groups=("system:serviceaccounts", "system:authenticated"))


@dataclass
class Realm(ApiWorld):
    """A world with the default roles and an account."""

    tokens: Tokens = field(init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        ensure_default_roles(self.registry)
        self.registry.create("serviceaccounts", {"metadata": {"name": "bob", "namespace": "default"}})
        self.tokens = Tokens(b"secret", self.store)

    def role(self, name: str, *rules: Obj, cluster: bool = False, labels: Obj | None = None, **more: object) -> None:
        metadata: Obj = {"name": name, "labels": labels or {}} | ({} if cluster else {"namespace": "default"})
        resource = f"{'cluster' if cluster else ''}roles.{GROUP}"
        self.registry.create(resource, {"metadata": metadata, "rules": list(rules), **more})

    def bind(self, role: str, *, cluster: bool = False, subject: Obj | None = None) -> None:
        metadata: Obj = {"name": f"b-{role.partition('/')[2]}"} | ({} if cluster else {"namespace": "default"})
        kind, _, name = role.partition("/")
        bob = {"kind": "ServiceAccount", "name": "bob", "namespace": "default"}
        body = {"roleRef": {"apiGroup": GROUP, "kind": kind, "name": name}, "subjects": [subject or bob]}
        self.registry.create(f"{'cluster' if cluster else ''}rolebindings.{GROUP}", {"metadata": metadata, **body})

    def may(self, verb: str, resource: str, who: Person = BOB, **more: str) -> bool:
        plural, _, subresource = resource.partition("/")
        wish = Wish(verb=verb, resource=plural, subresource=subresource, **{"namespace": "default", **more})
        return judge(self.store, who, wish).allowed

    def token(self, **spec: object) -> str:
        account = self.registry.read(Ref(resource="serviceaccounts", namespace="default", name="bob"))
        issued = self.tokens.issue(account, {"spec": spec}, token_id="t", now_s=self.clock.now_s())
        found: str = issued["status"]["token"]
        return found


def rule(verbs: str, resources: str, group: str = "", **more: object) -> Obj:
    return {"verbs": verbs.split(), "resources": resources.split(), "apiGroups": [group], **more}


def test_nobody_may_anything_without_a_binding() -> None:
    realm = Realm()
    realm.role("reader", rule("get", "pods"))

    assert not realm.may("get", "pods")
    assert realm.may("delete", "pods", Person(name="root", groups=("system:masters",)))


@pytest.mark.parametrize(
    ("given", "asked", "allowed"),
    [
        (rule("get", "pods"), ("get", "pods"), True),
        (rule("get", "pods"), ("list", "pods"), False),
        (rule("*", "*", "*"), ("delete", "pods/exec"), True),
        (rule("get", "pods"), ("get", "pods/log"), False),
        (rule("get", "pods/log"), ("get", "pods"), False),
        (rule("get", "*/log"), ("get", "pods/log"), True),
        (rule("get", "*/log"), ("get", "pods/exec"), False),
        (rule("get", "pods", "apps"), ("get", "pods"), False),
        (rule("get", "pods", resourceNames=["a"]), ("get", "pods"), False),
    ],
)
def test_a_rule_covers_what_it_names(given: Obj, asked: tuple[str, str], allowed: bool) -> None:
    realm = Realm()
    realm.role("r", given)
    realm.bind("Role/r")

    assert realm.may(*asked) is allowed


def test_a_name_in_a_rule_is_one_object() -> None:
    realm = Realm()
    realm.role("r", rule("get", "configmaps", resourceNames=["a"]))
    realm.bind("Role/r")

    assert realm.may("get", "configmaps", name="a") and not realm.may("get", "configmaps", name="b")


@pytest.mark.parametrize(
    ("subject", "who"),
    [
        ({"apiGroup": GROUP, "kind": "User", "name": "jane"}, Person(name="jane")),
        ({"apiGroup": GROUP, "kind": "Group", "name": "devs"}, Person(name="x", groups=("devs",))),
        ({"kind": "ServiceAccount", "name": "bob"}, BOB),
    ],
)
def test_a_binding_is_for_users_groups_and_accounts(subject: Obj, who: Person) -> None:
    realm = Realm()
    realm.role("r", rule("get", "pods"))
    realm.bind("Role/r", subject=subject)

    assert realm.may("get", "pods", who)
    assert not realm.may("get", "pods", Person(name="other"))
    assert not realm.may("get", "pods", who, namespace="kube-system")


def test_paths_are_covered_by_their_beginning() -> None:
    realm = Realm()
    realm.role("r", {"verbs": ["get"], "nonResourceURLs": ["/logs/*", "/metrics"]}, cluster=True)
    realm.bind("ClusterRole/r", cluster=True)

    def may(path: str) -> bool:
        return judge(realm.store, BOB, Wish(verb="get", path=path)).allowed

    assert may("/metrics") and may("/logs/a/b") and not may("/metrics/x") and not may("/logs")


def test_a_role_gathers_others_by_their_labels_even_itself() -> None:
    realm = Realm()
    gathers = {"clusterRoleSelectors": [{"matchLabels": {"all": "yes"}}]}
    realm.role("all", cluster=True, labels={"all": "yes"}, aggregationRule=gathers)
    realm.role("one", rule("get", "secrets"), cluster=True, labels={"all": "yes"})
    realm.bind("ClusterRole/all")

    assert realm.may("get", "secrets")


def test_a_verdict_says_which_role_is_missing_or_which_binding_allows() -> None:
    realm = Realm()
    realm.bind("Role/none")
    missing = judge(realm.store, BOB, Wish(verb="get", resource="pods", namespace="default"))
    realm.role("none", rule("get", "pods"))
    found = judge(realm.store, BOB, Wish(verb="get", resource="pods", namespace="default"))

    assert missing.trouble == 'RBAC: role.rbac.authorization.k8s.io "none" not found'
    assert found.reason == (
        'RBAC: allowed by RoleBinding "b-none/default" of Role "none" to ServiceAccount "bob/default"'
    )


def test_a_token_is_good_for_its_time_and_its_account() -> None:
    realm = Realm()
    token = realm.token(expirationSeconds=600)
    known = realm.tokens.account_of(token, NOON_S + 599)
    late = realm.tokens.account_of(token, NOON_S + 600)
    realm.registry.delete(Ref(resource="serviceaccounts", namespace="default", name="bob"))
    gone = realm.tokens.account_of(token, NOON_S)
    realm.registry.create("serviceaccounts", {"metadata": {"name": "bob", "namespace": "default"}})
    again = realm.tokens.account_of(token, NOON_S)

    assert known is not None and known.name == BOB.name
    assert (late, gone, again) == (None, None, None)


@pytest.mark.parametrize("forged", ["", "x", "a.b.c", "..", "x.", "é.é.é"])
def test_what_is_no_token_is_nobodys(forged: str) -> None:
    assert Realm().tokens.account_of(forged, NOON_S) is None


def test_a_token_of_another_secret_or_for_another_audience_is_nobodys() -> None:
    realm = Realm()

    assert Tokens(b"other", realm.store).account_of(realm.token(), NOON_S) is None
    assert realm.tokens.account_of(realm.token(audiences=["somebody"]), NOON_S) is None
    assert realm.tokens.account_of(realm.token(audiences=["somebody", ISSUER]), NOON_S) is not None


def test_a_bound_token_ends_with_its_pod() -> None:
    realm = Realm()
    pod = realm.run_pod("p")
    token = realm.token(boundObjectRef={"apiVersion": "v1", "kind": "Pod", "name": "p"})
    before = realm.tokens.account_of(token, NOON_S)
    realm.registry.delete(Ref(resource="pods", namespace="default", name="p"), grace_s=0)

    assert before is not None and realm.tokens.account_of(token, NOON_S) is None
    with pytest.raises(StatusError, match='pods "p" not found'):
        realm.token(boundObjectRef={"kind": "Pod", "name": "p", "uid": pod["metadata"]["uid"]})
    with pytest.raises(StatusError, match="cannot bind token for serviceaccount to a Node"):
        realm.token(boundObjectRef={"kind": "Node", "name": "n"})


def test_an_account_is_refused_in_words_and_the_admin_never() -> None:
    realm = Realm()
    bob = ApiUser(name=BOB.name, groups=BOB.groups)

    refused = realm.call_as(bob, "GET", "/api/v1/namespaces/default/pods")
    metrics = realm.call_as(bob, "GET", "/metrics")
    own = realm.call_as(bob, "GET", "/apis/segue.dev/v1/timeline")

    assert refused.code == 403
    assert refused.body["message"] == (
        f'pods is forbidden: User "{BOB.name}" cannot list resource "pods" in API group "" in the namespace "default"'
    )
    assert metrics.body["message"] == f'forbidden: User "{BOB.name}" cannot get path "/metrics"'
    assert own.code == 403
    assert realm.call_as(bob, "GET", "/apis").code == 200
    assert realm.call_as(ADMIN, "GET", "/api/v1/namespaces/default/pods").code == 200


def test_the_read_only_token_reads_all_and_writes_nothing() -> None:
    gate = Gate(Realm().store)
    route = parse_route("/api/v1/namespaces/default/secrets")

    gate.check(VIEWER, wish_of("list", route))
    with pytest.raises(StatusError, match="cannot create resource"):
        gate.check(VIEWER, wish_of("create", route))


def test_who_may_impersonate_is_somebody_else() -> None:
    realm = Realm()
    asked = ApiRequest(method="GET", path="/api/v1/namespaces/default/pods")
    bob = ApiUser(name=BOB.name, groups=BOB.groups)

    jane = realm.server.acting_as(ADMIN, "jane", ["devs"], asked)
    account = realm.server.acting_as(ADMIN, BOB.name, [], asked)

    assert (jane.name, jane.groups) == ("jane", ("devs", "system:authenticated"))
    assert "system:serviceaccounts:default" in account.groups
    with pytest.raises(StatusError, match="cannot impersonate-on:user-info:list"):
        realm.server.acting_as(bob, "jane", [], asked)


def test_a_token_comes_by_the_api_and_is_believed() -> None:
    realm = Realm()
    path = "/api/v1/namespaces/default/serviceaccounts/bob/token"
    issued = realm.call("POST", path, {"spec": {"expirationSeconds": 600}})
    user = realm.server.user_of(issued.body["status"]["token"])

    assert issued.code == 201 and issued.body["status"]["expirationTimestamp"] == "2026-09-21T14:23:20Z"
    assert user is not None and user.name == BOB.name
    assert realm.call("POST", path, {"spec": {"expirationSeconds": 9}}).code == 422
    assert realm.server.user_of("nonsense") is None


def test_default_roles_are_made_once_and_changes_to_them_are_kept() -> None:
    realm = Realm()
    ref = Ref(resource=f"clusterroles.{GROUP}", namespace="", name="view")
    view = realm.registry.read(ref)
    realm.registry.update(ref.resource, {**view, "rules": []})
    version = realm.store.version

    ensure_default_roles(realm.registry)

    assert realm.store.version == version and not realm.registry.read(ref).get("rules")
