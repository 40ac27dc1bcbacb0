"""ValidatingAdmissionPolicies in a registry: what they match, what expressions come to, whose writes they judge."""

from __future__ import annotations

import pytest

from segue.cluster.admission import expressions
from segue.cluster.admission.expressions import Failure, Misfit, compiled
from segue.cluster.admission.matching import Request, matches
from segue.cluster.kinds import kind_of
from segue.cluster.registry import Acting, Options
from segue.cluster.writes import Create, Delete
from segue.model.errors import StatusError
from segue.model.objects import Obj, Ref
from tests.unit.cluster.api_world import ApiWorld, deployment, service

GROUP = "admissionregistration.k8s.io"
JANE: Obj = {"username": "jane", "groups": ["devs"]}
SERVICES = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"], "resources": ["services"]}
OBJECT = frozenset({"object"})


def ruled(*validations: Obj, rule: Obj | None = None, binding: Obj | None = None, **spec: object) -> ApiWorld:
    """A world with one policy that is bound."""
    world = ApiWorld()
    body = {"matchConstraints": {"resourceRules": [rule or SERVICES]}, "validations": list(validations), **spec}
    world.registry.create(f"validatingadmissionpolicies.{GROUP}", {"metadata": {"name": "p"}, "spec": body})
    bound = {"policyName": "p", "validationActions": ["Deny"], **(binding or {})}
    world.registry.create(f"validatingadmissionpolicybindings.{GROUP}", {"metadata": {"name": "b"}, "spec": bound})
    return world


def make(world: ApiWorld, obj: Obj, resource: str = "services", warnings: list[str] | None = None) -> Obj:
    told = warnings if warnings is not None else []
    return world.registry.create(resource, obj, options=Options(user=JANE, warn=told.append))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("object.n + 1", 4),
        ("object.list.map(x, x * 2)", [2, 4, 6]),
        ("object.list.sum()", 6),
        ("object.list.min() + object.list.max()", 4),
        ("object.list.isSorted()", True),
        ("object.text.indexOf('b')", 1),
        ("object.text.find('[bc]+')", "bc"),
        ("object.text.findAll('[a-c]')", ["a", "b", "c"]),
        ("object.?none.orValue('x')", "x"),
        ("cel.bind(x, object.n, x * x)", 9),
        ("has(object.none)", False),
        ("'a,b'.split(',').size()", 2),
    ],
)
def test_an_expression_comes_to_a_plain_value(text: str, value: object) -> None:
    data: Obj = {"n": 3, "list": [1, 2, 3], "text": "abc"}

    assert compiled(text, OBJECT).value({"object": data}) == value


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("object.none == 1", "no such key: none"),
        ("object.n / 0 == 1", "division by zero"),
        ("object.n + 'x' == 'y'", "no such overload"),
    ],
)
def test_an_expression_that_comes_to_nothing_says_why(text: str, why: str) -> None:
    with pytest.raises(Failure) as failure:
        compiled(text, OBJECT).value({"object": {"n": 3}})

    assert str(failure.value) == why


def test_an_expression_that_cannot_be_read_says_where() -> None:
    with pytest.raises(Misfit, match=r"<input>:1:1: undeclared reference to 'params' \(in container ''\)"):
        compiled("params == 1", OBJECT)


def asked(**more: object) -> Request:
    given: Obj = {
        "kind": kind_of("deployments.apps"),
        "resource": kind_of("deployments.apps"),
        "subresource": "",
        "operation": "CREATE",
        "namespace": "default",
        "name": "web",
        "obj": deployment(),
        "old": None,
        "user": JANE,
        "dry_run": False,
    }
    return Request(**{**given, **more})


@pytest.mark.parametrize(
    ("rule", "request_", "wanted"),
    [
        ({}, asked(), True),
        ({"operations": ["UPDATE"]}, asked(), False),
        ({"operations": ["*"]}, asked(operation="DELETE"), True),
        ({"apiGroups": [""]}, asked(), False),
        ({"apiVersions": ["v2"]}, asked(), False),
        ({"resources": ["*"]}, asked(), True),
        ({"resources": ["*"]}, asked(subresource="scale"), False),
        ({"resources": ["*/*"]}, asked(subresource="scale"), True),
        ({"resources": ["*/*"]}, asked(), True),
        ({"resources": ["deployments/*"]}, asked(subresource="status"), True),
        ({"resources": ["*/scale"]}, asked(subresource="status"), False),
        ({"scope": "Cluster"}, asked(), False),
        ({"resourceNames": ["other"]}, asked(), False),
    ],
)
def test_a_rule_names_resources_and_operations(rule: Obj, request_: Request, wanted: bool) -> None:
    whole = {
        "apiGroups": ["apps"],
        "apiVersions": ["v1"],
        "operations": ["CREATE"],
        "resources": ["deployments"],
        **rule,
    }

    assert matches({"resourceRules": [whole]}, request_, None) is wanted
    assert not matches({"resourceRules": [whole], "excludeResourceRules": [whole]}, request_, None)


def test_selectors_choose_by_labels_now_or_before() -> None:
    space: Obj = {"metadata": {"name": "default", "labels": {"a": "b"}}}
    labelled: Obj = {"metadata": {"name": "x", "labels": {"c": "d"}}}

    def selected(selector: str, **labels: str) -> bool:
        return matches({selector: {"matchLabels": labels}}, asked(obj={"metadata": {}}, old=labelled), space)

    assert selected("namespaceSelector", a="b") and not selected("namespaceSelector", a="c")
    assert selected("objectSelector", c="d") and not selected("objectSelector", c="e")


def test_users_and_programs_are_asked_about_and_the_server_is_not() -> None:
    name = "request.userInfo.username"
    world = ruled({"expression": f"{name} == 'nobody'", "messageExpression": name})
    program = Acting(world.registry, "kube-controller-manager")

    with pytest.raises(StatusError, match="denied request: jane"):
        make(world, service())
    with pytest.raises(StatusError, match="denied request: system:kube-controller-manager"):
        made_by = {**service(), "metadata": {"name": "a", "namespace": "default"}}
        program.perform(Create(resource="services", obj=made_by))
    made = world.registry.create("services", service())
    with pytest.raises(StatusError, match="denied request"):
        program.perform(Delete(ref=Ref(resource="services", namespace="default", name=made["metadata"]["name"])))


def test_the_first_binding_that_denies_decides_and_warnings_come_before() -> None:
    world = ruled({"expression": "false", "message": "one"}, {"expression": "false", "message": "two"})
    spec = {"policyName": "p", "validationActions": ["Warn"]}
    world.registry.create(f"validatingadmissionpolicybindings.{GROUP}", {"metadata": {"name": "a"}, "spec": spec})
    warnings: list[str] = []

    with pytest.raises(StatusError, match="with binding 'b' denied request: one"):
        make(world, service(), warnings=warnings)

    assert warnings == [
        f"Validation failed for ValidatingAdmissionPolicy 'p' with binding 'a': {text}" for text in ("one", "two")
    ]


def test_a_broken_variable_counts_where_it_is_used() -> None:
    broken = [{"name": "bad", "expression": "object.none"}, {"name": "good", "expression": "object.metadata.name"}]
    fine = ruled({"expression": "variables.good != ''"}, variables=broken)
    used = ruled({"expression": "variables.bad == 1"}, variables=broken)

    make(fine, service())
    with pytest.raises(StatusError, match='composited variable "bad" fails to evaluate: no such key: none'):
        make(used, service())


def test_params_by_selector_are_all_asked() -> None:
    world = ruled(
        {"expression": "object.metadata.name != params.data.name", "messageExpression": "'not ' + params.data.name"},
        paramKind={"apiVersion": "v1", "kind": "ConfigMap"},
        binding={"paramRef": {"selector": {"matchLabels": {"param": "yes"}}, "parameterNotFoundAction": "Allow"}},
    )
    make(world, service("first"))
    for name in ("a", "b"):
        metadata = {"name": name, "namespace": "default", "labels": {"param": "yes"}}
        world.registry.create("configmaps", {"metadata": metadata, "data": {"name": name}})

    make(world, service("c"))
    with pytest.raises(StatusError, match="not b"):
        make(world, service("b"))


def test_policies_do_not_judge_policies() -> None:
    everything = {"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"], "resources": ["*"]}
    world = ruled({"expression": "false"}, rule=everything)
    ref = Ref(resource=f"validatingadmissionpolicybindings.{GROUP}", namespace="", name="b")
    other = {**world.registry.read(ref), "spec": {"policyName": "q", "validationActions": ["Deny"]}}
    changed = world.registry.update(ref.resource, other, options=Options(user=JANE))

    assert changed["spec"]["policyName"] == "q"
    make(world, service())


def test_without_the_library_a_policy_is_refused_and_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expressions, "LIBRARY", "no_such_library")

    with pytest.raises(StatusError, match="segue\\[policies\\]"):
        ruled({"expression": "true"})
