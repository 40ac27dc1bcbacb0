"""What inject puts into a manifest, what it leaves alone, and that uninject takes out exactly that."""

from __future__ import annotations

import difflib
import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from segue.drain.inject import ANNOTATION, Wanted, inject, uninject
from segue.model.errors import ManifestError
from segue.model.objects import Obj

WANTED = Wanted(image="example.org/agent:v1")
WEB = """\
# the shop
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}   # short
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata:
      labels: {app: web}
    spec:
      terminationGracePeriodSeconds: 45    # why: reports
      containers:
      - name: web
        image: "example.org/web:1"
        readinessProbe: {httpGet: {path: /, port: http}, periodSeconds: 4}
        ports:
        - {name: http, containerPort: 8080}
      - image: example.org/proxy:1
        name: proxy
        lifecycle:
          postStart: {exec: {command: [warm]}}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: http}]}
"""


def first(text: str) -> Obj:
    found: Obj = next(iter(yaml.safe_load_all(text)))
    return found


def spec_of(text: str) -> Obj:
    found: Obj = first(text)["spec"]["template"]["spec"]
    return found


def test_agent_hooks_and_grace_are_put_in() -> None:
    text, told = inject(WEB, "web.yaml", WANTED)
    spec = spec_of(text)

    (agent,) = spec["initContainers"]
    assert (agent["name"], agent["image"], agent["restartPolicy"]) == ("segue-agent", WANTED.image, "Always")
    assert {one["name"]: one.get("value") for one in agent["env"]}["SEGUE_PORTS"] == "8080"
    assert {one["name"]: one.get("value") for one in agent["env"]}["SEGUE_PROBES"] == "4"
    hook = {"httpGet": {"path": "/quiet?cap_s=60&timer_s=5", "port": 9741}}
    assert [one["lifecycle"]["preStop"] for one in spec["containers"]] == [hook, hook]
    assert spec["containers"][1]["lifecycle"]["postStart"] == {"exec": {"command": ["warm"]}}
    assert spec["terminationGracePeriodSeconds"] == 105
    assert [(one.name, one.containers, one.grace_s, one.in_text) for one in told] == [
        ("Deployment web", ("web", "proxy"), 45, True)
    ]


def test_no_byte_of_anybody_elses_is_touched() -> None:
    text, _ = inject(WEB, "web.yaml", WANTED)

    taken = [line[2:] for line in difflib.ndiff(WEB.splitlines(), text.splitlines()) if line.startswith("- ")]
    assert taken == ["      terminationGracePeriodSeconds: 45    # why: reports"]
    assert f"# segue inject: instead of|{taken[0]}" in text


def test_twice_is_once_and_other_options_take_the_place_of_the_first() -> None:
    once, _ = inject(WEB, "web.yaml", WANTED)
    other = Wanted(image="example.org/agent:v2", cap_s=12.5, ports=(9,))

    assert inject(once, "web.yaml", WANTED)[0] == once
    assert inject(once, "web.yaml", other)[0] == inject(WEB, "web.yaml", other)[0]
    assert spec_of(inject(once, "web.yaml", other)[0])["terminationGracePeriodSeconds"] == 58


@pytest.mark.parametrize("text", [WEB, WEB.replace("\n", "\r\n"), WEB.rstrip("\n")], ids=["plain", "crlf", "no end"])
def test_uninject_gives_back_the_same_bytes(text: str) -> None:
    made, _ = inject(text, "web.yaml", WANTED)

    assert made != text
    assert uninject(made, "web.yaml")[0] == text
    assert uninject(text, "web.yaml") == (text, [])


def test_the_last_line_may_be_the_one_that_is_changed() -> None:
    lines = WEB.split("---", maxsplit=1)[0].splitlines()
    grace = next(line for line in lines if "terminationGrace" in line)
    text = "\n".join([*(line for line in lines if line != grace), grace])
    made, _ = inject(text, "web.yaml", WANTED)

    assert spec_of(made)["terminationGracePeriodSeconds"] == 105
    assert uninject(made, "web.yaml")[0] == text


@pytest.mark.parametrize("form", ["json", "flow", "list", "one line"])
def test_what_cannot_be_edited_is_written_anew_and_means_the_same(form: str) -> None:
    web = first(WEB)
    texts = {
        "json": json.dumps(web, indent=2),
        "flow": yaml.safe_dump(web, default_flow_style=True),
        "list": json.dumps({"apiVersion": "v1", "kind": "List", "items": [web, web]}),
        "one line": WEB.replace(
            "      - name: web\n        image", "      - {name: only, image: i}\n      - name: web\n        image"
        ),
    }
    made, told = inject(texts[form], "x", WANTED)
    back, _ = uninject(made, "x")

    assert {one.in_text for one in told} == {False}
    assert inject(made, "x", WANTED)[0] == made
    assert list(yaml.safe_load_all(back)) == list(yaml.safe_load_all(texts[form]))


def test_a_list_in_block_style_is_edited_in_its_text() -> None:
    text = yaml.safe_dump({"apiVersion": "v1", "kind": "List", "items": [first(WEB), first(WEB)]}, sort_keys=False)
    made, told = inject(text, "x", WANTED)

    assert [one.in_text for one in told] == [True, True]
    assert uninject(made, "x")[0] == text


def test_an_object_that_has_been_through_a_cluster_is_restored_by_its_annotation() -> None:
    made, _ = inject(WEB, "web.yaml", WANTED)
    without_comments = yaml.safe_dump(first(made))
    back, told = uninject(without_comments, "x")

    assert ANNOTATION not in back
    assert first(back) == first(WEB)
    assert [one.in_text for one in told] == [False]


@pytest.mark.parametrize(
    ("old", "new", "said", "line"),
    [
        ("postStart: {exec: {command: [warm]}}", "preStop: {sleep: {seconds: 5}}", "has a preStop hook of its own", 21),
        ("      containers:", "      hostNetwork: true\n      containers:", "share the node's network", 12),
        ("      containers:", "      initContainers: [{name: segue-agent}]\n      containers:", "did not write", 12),
    ],
)
def test_what_would_be_wrong_is_refused_with_its_line(old: str, new: str, said: str, line: int) -> None:
    with pytest.raises(ManifestError, match=said) as refused:
        inject(WEB.replace(old, new), "web.yaml", WANTED)

    assert refused.value.place is not None
    assert refused.value.place.line == line


def test_a_comment_that_is_missing_is_told() -> None:
    made, _ = inject(WEB, "web.yaml", WANTED)

    with pytest.raises(ManifestError, match="segue inject: begin"):
        uninject(made.replace("# segue inject: end", ""), "web.yaml")


def test_other_kinds_are_left_alone() -> None:
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n---\n" + WEB.split("---\n")[1]

    assert inject(text, "x", WANTED) == (text, [])


@pytest.mark.parametrize(
    ("resources", "limits"),
    [
        ({}, {"memory": "64Mi"}),
        ({"limits": {"memory": "1Gi"}}, {"memory": "64Mi"}),
        ({"limits": {"memory": "1Gi", "cpu": 1}, "requests": {"cpu": "500m"}}, {"memory": "64Mi"}),
        ({"limits": {"memory": "1Gi", "cpu": 1}}, {"memory": "64Mi", "cpu": "100m"}),
    ],
)
def test_a_guaranteed_pod_stays_one_and_no_other_gets_a_limit_on_its_agents_cpu(resources: Obj, limits: Obj) -> None:
    container = {"name": "c", "image": "i", "resources": resources}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "n"}, "spec": {"containers": [container]}}
    found = first(inject(yaml.safe_dump(pod), "x", WANTED)[0])["spec"]["initContainers"][0]["resources"]

    assert found["limits"] == limits
    assert (found["requests"] == limits) is ("cpu" in limits)


CONTAINER = st.fixed_dictionaries(
    {"image": st.just("i")},
    optional={
        "lifecycle": st.sampled_from([None, {}, {"postStart": {"exec": {"command": ["x"]}}}]),
        "ports": st.just([{"containerPort": 80}]),
        "command": st.just(["sh", "-c", "a: b # c\n- d"]),
    },
)


@given(
    containers=st.lists(CONTAINER, min_size=1, max_size=3),
    spec=st.fixed_dictionaries(
        {},
        optional={
            "terminationGracePeriodSeconds": st.sampled_from([None, 0, 7]),
            "initContainers": st.sampled_from([None, [], [{"name": "init", "image": "i"}]]),
        },
    ),
    metadata=st.sampled_from([None, {}, {"annotations": None}, {"annotations": {"a": "b"}}, {"labels": {"a": "b"}}]),
    kind=st.sampled_from(["StatefulSet", "Pod"]),
    flow=st.sampled_from([None, False, True]),
    indent=st.sampled_from([2, 4]),
)
def test_whatever_is_written_comes_back(
    containers: list[Obj], spec: Obj, metadata: Obj | None, kind: str, flow: bool | None, indent: int
) -> None:
    spec = {**spec, "containers": [{"name": f"c{number}", **one} for number, one in enumerate(containers)]}
    if kind == "Pod":
        obj = {"apiVersion": "v1", "kind": kind, "metadata": {"name": "n", **(metadata or {})}, "spec": spec}
    else:
        template = {"metadata": metadata, "spec": spec} if metadata is not None else {"spec": spec}
        obj = {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "n"}, "spec": {"template": template}}
    text = yaml.safe_dump(obj, sort_keys=False, default_flow_style=flow, indent=indent)
    made, told = inject(text, "x", WANTED)
    back, _ = uninject(made, "x")
    found = first(made) if kind == "Pod" else first(made)["spec"]["template"]

    assert found["spec"]["initContainers"][0]["name"] == "segue-agent"
    assert all(one["lifecycle"]["preStop"]["httpGet"]["port"] == 9741 for one in found["spec"]["containers"])
    assert (
        found["spec"]["terminationGracePeriodSeconds"]
        == 60 + {None: 30, 0: 0, 7: 7}[spec.get("terminationGracePeriodSeconds")]
    )
    assert inject(made, "x", WANTED)[0] == made
    assert first(back) == obj
    assert back == text or not told[0].in_text
