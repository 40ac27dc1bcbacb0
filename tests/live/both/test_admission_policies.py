"""ValidatingAdmissionPolicies: what they match, what they refuse with which words, and what they may not be."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from http.client import HTTPConnection

import pytest

from segue.model.objects import Obj, condition_of
from tests.live.both import manifests
from tests.live.both.rollouts import wait_until
from tests.live.both.test_api_answers import MP, ask
from tests.live.both.world import Place

pytestmark = pytest.mark.live

STATEMENTS = {
    "Policy-denies": "A validation that does not hold refuses with its message, by 422 or its own reason.",
    "Policy-matches": "Rules, operations, subresources, selectors and matchConditions choose what is asked about.",
    "Policy-sees": "Expressions see object, oldObject, request, namespaceObject, params and variables.",
    "Policy-fails": "An expression that comes to nothing refuses, with failurePolicy Ignore it does not.",
    "Policy-warns": "A binding with Warn lets the write through and says so in a Warning header.",
    "Policy-valid": "A policy whose expressions cannot be compiled or have the wrong type is refused.",
}
NOT_COVERED: dict[str, str] = {}
DIFFERENCES = {
    "Policy-sees": "embedded knows neither quantities, URLs, addresses nor the authorizer in expressions; controllers"
    " write as system:kube-controller-manager (real: as service accounts of kube-system)",
    "Policy-fails": "the words for a field of null differ (real: no such key)",
    "Policy-valid": "embedded writes no status.typeChecking; a policy is in force at once (real: after up to 1 s)",
}
GROUP = "/apis/admissionregistration.k8s.io/v1"
CONFIG_MAPS = {
    "apiGroups": [""],
    "apiVersions": ["v1"],
    "operations": ["CREATE", "UPDATE"],
    "resources": ["configmaps"],
}


class Policies:
    """Makes policies that only this place's namespace knows; they go with the test."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.name = place.namespace
        self.made: list[str] = []

    def offer(self, validations: list[Obj], *, rule: Obj | None = None, **spec: object) -> tuple[int, Obj]:
        """Create a policy; the API's answer."""
        matched = {"resourceRules": [rule or CONFIG_MAPS]}
        body = {
            "metadata": {"name": self.name},
            "spec": {"matchConstraints": matched, "validations": validations, **spec},
        }
        return self._post("validatingadmissionpolicies", body)

    def enforce(self, *validations: Obj, rule: Obj | None = None, binding: Obj | None = None, **spec: object) -> None:
        """Create a policy and a binding, and wait until it is in force: until it denies a ConfigMap named `probe`."""
        first = {"expression": "object == null || object.metadata.name != 'probe'", "message": "in force"}
        rules = [rule or CONFIG_MAPS, CONFIG_MAPS]
        matched = {"resourceRules": rules}
        told = self._post(
            "validatingadmissionpolicies",
            {
                "metadata": {"name": self.name},
                "spec": {"matchConstraints": matched, "validations": [first, *validations], **spec},
            },
        )
        assert told[0] == 201, told
        own = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": self.place.namespace}}}
        bound = {"policyName": self.name, "validationActions": ["Deny"], "matchResources": own, **(binding or {})}
        told = self._post("validatingadmissionpolicybindings", {"metadata": {"name": self.name}, "spec": bound})
        assert told[0] == 201, told

    def wait(self) -> None:
        """Wait until the policy denies, or warns."""
        path = self.place.path("configmaps") + "?dryRun=All"

        def heard() -> bool:
            code, _, warnings = warned(self.place, path, data("probe", a="1"))
            return code == 422 or bool(warnings)

        wait_until(heard, what="the policy to be in force")

    def leave(self) -> None:
        for path in self.made:
            ask(self.place, "DELETE", path)

    def _post(self, resource: str, body: Obj) -> tuple[int, Obj]:
        self.made.insert(0, f"{GROUP}/{resource}/{self.name}")
        return ask(self.place, "POST", f"{GROUP}/{resource}", body)


@pytest.fixture
def policies(place: Place) -> Iterator[Policies]:
    made = Policies(place)
    yield made
    made.leave()


def warned(place: Place, path: str, body: Obj) -> tuple[int, Obj, list[str]]:
    """A POST with the warnings of its answer."""
    with closing(HTTPConnection("127.0.0.1", place.world.api_port, timeout=30)) as way:
        way.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        answer = way.getresponse()
        return answer.status, json.loads(answer.read()), answer.headers.get_all("Warning") or []


def data(name: str, **values: str) -> Obj:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": values}


def make(place: Place, name: str, **values: str) -> tuple[int, Obj]:
    return ask(place, "POST", place.path("configmaps"), data(name, **values))


def denial(place: Place, message: str) -> str:
    """What a refusal says behind the object."""
    return f"ValidatingAdmissionPolicy '{place.namespace}' with binding '{place.namespace}' denied request: {message}"


@pytest.mark.states("Policy-denies")
def test_what_does_not_hold_is_refused_with_its_message(place: Place, policies: Policies) -> None:
    policies.enforce(
        {"expression": "'a' in object.data"},
        {"expression": "object.data.a != '2'", "message": "never 2"},
        {"expression": "object.data.a != '3'", "messageExpression": "'no ' + object.data.a + ' here'", "message": "x"},
        {"expression": "object.data.a != '4'", "message": "four", "reason": "Forbidden"},
    )
    policies.wait()
    answers = {
        "none": make(place, "none", b="1"),
        "two": make(place, "two", a="2"),
        "three": make(place, "three", a="3"),
        "four": make(place, "four", a="4"),
        "good": make(place, "good", a="1"),
    }
    changed = ask(place, "PATCH", place.path("configmaps", "good"), {"data": {"a": "2"}}, MP)
    dry = ask(place, "POST", place.path("configmaps") + "?dryRun=All", data("dry", a="2"))

    message = denial(place, "failed expression: 'a' in object.data")
    assert {name: (code, body.get("reason")) for name, (code, body) in answers.items()} == {
        "none": (422, "Invalid"),
        "two": (422, "Invalid"),
        "three": (422, "Invalid"),
        "four": (403, "Forbidden"),
        "good": (201, None),
    }
    assert answers["none"][1]["message"] == f'configmaps "none" is forbidden: {message}'
    assert answers["none"][1]["details"] == {"name": "none", "kind": "configmaps", "causes": [{"message": message}]}
    assert answers["two"][1]["message"].endswith(denial(place, "never 2"))
    assert answers["three"][1]["message"].endswith(denial(place, "no 3 here"))
    assert changed[0] == dry[0] == 422
    assert place.get("configmaps", "good")["data"] == {"a": "1"}


@pytest.mark.states("Policy-matches")
def test_conditions_labels_and_operations_choose(place: Place, policies: Policies) -> None:
    labelled = {"objectSelector": {"matchExpressions": [{"key": "spared", "operator": "DoesNotExist"}]}}
    own = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": place.namespace}}}
    policies.enforce(
        {"expression": "object != null && object.metadata.name == 'fine'", "message": "no"},
        rule=CONFIG_MAPS | {"operations": ["CREATE", "DELETE"]},
        matchConditions=[{"name": "only", "expression": "request.name != 'spared'"}],
        binding={"matchResources": own | labelled},
    )
    policies.wait()
    spared = data("other", a="1")
    spared["metadata"]["labels"] = {"spared": "yes"}

    answers = {
        "condition": make(place, "spared", a="1")[0],
        "label": ask(place, "POST", place.path("configmaps"), spared)[0],
        "denied": make(place, "denied", a="1")[0],
        "fine": make(place, "fine", a="1")[0],
        "secret": ask(place, "POST", place.path("secrets"), {"metadata": {"name": "x"}})[0],
        "elsewhere": ask(place, "POST", "/api/v1/namespaces/default/configmaps?dryRun=All", data("denied"))[0],
        "delete": ask(place, "DELETE", place.path("configmaps", "fine"))[0],
    }

    assert answers == {
        "condition": 201,
        "label": 201,
        "denied": 422,
        "fine": 201,
        "secret": 201,
        "elsewhere": 201,
        "delete": 422,
    }


@pytest.mark.states("Policy-matches")
def test_a_scale_is_an_object_of_its_own(place: Place, policies: Policies) -> None:
    policies.enforce(
        {"expression": "request.subResource == '' || object.spec.replicas <= 2", "message": "two at most"},
        rule={
            "apiGroups": ["apps"],
            "apiVersions": ["*"],
            "operations": ["UPDATE"],
            "resources": ["deployments/scale"],
        },
    )
    policies.wait()
    place.create(manifests.deployment("web", 0))

    scaled = ask(place, "PATCH", place.path("deployments", "web", "scale"), {"spec": {"replicas": 3}}, MP)
    fewer = ask(place, "PATCH", place.path("deployments", "web", "scale"), {"spec": {"replicas": 1}}, MP)

    assert (scaled[0], fewer[0]) == (422, 200)
    assert scaled[1]["message"] == f'deployments.apps "web" is forbidden: {denial(place, "two at most")}'


@pytest.mark.states("Policy-matches", "Policy-denies")
def test_controllers_are_refused_like_anybody(place: Place, policies: Policies) -> None:
    policies.enforce(
        {"expression": "request.kind.kind != 'Pod' || has(object.metadata.labels.team)", "message": "whose is it"},
        rule={"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]},
    )
    policies.wait()
    place.create(manifests.replica_set("puppet", 1))

    failing = wait_until(
        lambda: condition_of(place.get("replicasets", "puppet"), "ReplicaFailure"), what="a ReplicaFailure"
    )

    assert failing is not None and failing["reason"] == "FailedCreate"
    assert failing["message"].endswith(denial(place, "whose is it"))


@pytest.mark.states("Policy-sees")
def test_expressions_see_the_request_the_old_object_and_variables(place: Place, policies: Policies) -> None:
    told = " + ' ' + ".join(
        (
            "request.operation",
            "request.kind.kind",
            "request.resource.resource",
            "request.name",
            "string(request.namespace == namespaceObject.metadata.name)",
            "string(request.dryRun)",
            "string(oldObject == null)",
            "string(request.userInfo.username != '')",
            "string(variables.count)",
        )
    )
    policies.enforce(
        {"expression": "object.metadata.name != 'tell'", "messageExpression": told},
        {"expression": "oldObject == null || oldObject.data == object.data", "message": "data stays"},
        variables=[
            {"name": "data", "expression": "object.?data.orValue({})"},
            {"name": "count", "expression": "variables.data.size()"},
        ],
    )
    policies.wait()
    tell = make(place, "tell", a="1", b="2")
    made = make(place, "d", a="1")
    label = ask(place, "PATCH", place.path("configmaps", "d"), {"metadata": {"labels": {"x": "1"}}}, MP)
    changed = ask(place, "PATCH", place.path("configmaps", "d"), {"data": {"a": "2"}}, MP)

    assert tell[1]["message"].endswith(denial(place, "CREATE ConfigMap configmaps tell true false true true 2"))
    assert (made[0], label[0], changed[0]) == (201, 200, 422)
    assert changed[1]["message"].endswith("data stays")


@pytest.mark.states("Policy-sees")
def test_params_come_from_an_object_that_the_binding_names(place: Place, policies: Policies) -> None:
    reference = {"name": "limits", "namespace": place.namespace, "parameterNotFoundAction": "Deny"}
    own = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": place.namespace}}}
    spared = {"objectSelector": {"matchExpressions": [{"key": "spared", "operator": "DoesNotExist"}]}}
    limits = data("limits", want="7")
    limits["metadata"]["labels"] = {"spared": "yes"}
    policies.enforce(
        {
            "expression": "object.data.a == params.data.want",
            "messageExpression": "'want ' + params.data.want",
        },
        paramKind={"apiVersion": "v1", "kind": "ConfigMap"},
        binding={"paramRef": reference, "matchResources": own | spared},
    )
    policies.wait()
    missing = wait_until(lambda: _refused(make(place, "first", a="1")), what="a refusal")
    place.create(limits)
    wrong = wait_until(
        lambda: _refused(make(place, "second", a="1"), lambda message: "want" in message), what="params to be known"
    )

    why = "failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction"
    assert missing.endswith(denial(place, why))
    assert wrong.endswith(denial(place, "want 7"))
    assert make(place, "third", a="7")[0] == 201


def _refused(answer: tuple[int, Obj], wanted: Callable[[str], bool] = bool) -> str:
    return str(answer[1]["message"]) if answer[0] == 422 and wanted(answer[1]["message"]) else ""


@pytest.mark.states("Policy-fails")
@pytest.mark.parametrize("policy", ["Fail", "Ignore"])
def test_an_expression_without_a_value_fails_as_the_policy_says(place: Place, policies: Policies, policy: str) -> None:
    policies.enforce({"expression": "object.nothing.x == 1"}, failurePolicy=policy)
    policies.wait()

    code, told = make(place, "d", a="1")

    if policy == "Ignore":
        assert code == 201
    else:
        why = "expression 'object.nothing.x == 1' resulted in error: no such key: nothing"
        assert (code, told["message"]) == (422, f'configmaps "d" is forbidden: {denial(place, why)}')


@pytest.mark.states("Policy-warns")
def test_a_binding_may_only_warn(place: Place, policies: Policies) -> None:
    policies.enforce(
        {"expression": "object.data.a == '1'", "message": "not 1"}, binding={"validationActions": ["Warn", "Audit"]}
    )
    policies.wait()

    code, _, warnings = warned(place, place.path("configmaps"), data("d", a="2"))

    where = f"ValidatingAdmissionPolicy '{place.namespace}' with binding '{place.namespace}'"
    assert code == 201
    assert warnings == [f'299 - "Validation failed for {where}: not 1"']


@pytest.mark.states("Policy-valid")
@pytest.mark.parametrize(
    ("validations", "spec", "field", "message"),
    [
        ([{"expression": "nothing == 1"}], {}, "validations[0].expression", "undeclared reference to 'nothing'"),
        ([{"expression": "object.x <"}], {}, "validations[0].expression", "compilation failed: ERROR: <input>:1:11"),
        ([{"expression": "'x'"}], {}, "validations[0].expression", "must evaluate to bool but got string"),
        ([{"expression": " "}], {}, "validations[0].expression", "Required value: expression is not specified"),
        (
            [{"expression": "true", "messageExpression": "1"}],
            {},
            "validations[0].messageExpression",
            "must evaluate to string but got int",
        ),
        ([{"expression": "true", "reason": "No"}], {}, "validations[0].reason", 'Unsupported value: "No"'),
        ([{"expression": "true", "message": "a\nb"}], {}, "validations[0].message", "must not contain line breaks"),
        ([], {}, "validations", "validations or auditAnnotations must contain at least one item"),
        (
            [{"expression": "true"}],
            {"matchConditions": [{"name": "x", "expression": "1"}]},
            "matchConditions[0].expression",
            "must evaluate to bool but got int",
        ),
        ([{"expression": "true"}], {"matchConstraints": {}}, "matchConstraints.resourceRules", "Required value"),
        ([{"expression": "true"}], {"failurePolicy": "x"}, "failurePolicy", 'Unsupported value: "x"'),
    ],
)
def test_a_policy_that_is_none_is_refused(
    policies: Policies, validations: list[Obj], spec: Obj, field: str, message: str
) -> None:
    code, told = policies.offer(validations, **spec)

    cause = told["details"]["causes"][0]
    assert (code, cause["field"]) == (422, f"spec.{field}")
    assert message in cause["message"]


@pytest.mark.states("Policy-valid")
def test_a_binding_says_which_policy_and_what_to_do(place: Place) -> None:
    path = f"{GROUP}/validatingadmissionpolicybindings?dryRun=All"
    bodies: tuple[Obj, ...] = (
        {},
        {"policyName": "x", "validationActions": ["Deny", "Warn"]},
        {"policyName": "x", "validationActions": ["No"]},
    )

    told = [ask(place, "POST", path, {"metadata": {"name": place.namespace}, "spec": spec})[1] for spec in bodies]

    assert [[cause["field"] for cause in one["details"]["causes"]] for one in told] == [
        ["spec.policyName", "spec.validationActions"],
        ["spec.validationActions"],
        ["spec.validationActions[0]"],
    ]
