"""A careless user at the command line: one clear error with its exit code, no traceback, and nothing is changed."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from segue.host import embedded
from segue.model.objects import Obj
from tests.live.conftest import BIN, ROOT, Cluster, seed, start_cluster
from tests.waiting import wait_until

pytestmark = pytest.mark.live

KINDS = "deployments,replicasets,pods,services,endpointslices,configmaps,secrets,serviceaccounts,leases,namespaces"
GOOD = seed(version="v0.2")
UNHEALTHY = seed(version="v0.9").replace("path: /health", "path: /nowhere")
SERVICE = GOOD.partition("---")[2]


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three seed pods behind their Service, for all tests of this file: none of them may change that."""
    home = tmp_path_factory.mktemp("bad")
    cluster = start_cluster(home / "default")
    cluster.kubectl("apply", "-f", "-", stdin=seed())
    cluster.wait_ready(3)
    yield cluster
    embedded.stop(cluster.state)


def world(cluster: Cluster) -> list[Obj]:
    """Every object, with its resourceVersion."""
    return list(cluster.get(KINDS, "-A")["items"])


def refused(cluster: Cluster, *argv: str, code: int, env: dict[str, str] | None = None) -> str:
    """The one error of a command that must change nothing: its first line, the remedy after it."""
    before = world(cluster)
    done = subprocess.run(
        [str(BIN / "segue"), *argv],
        env={**cluster.env, **(env or {})},
        text=True,
        capture_output=True,
        timeout=60,
        check=False,
    )
    said = error_of(done, code)

    assert world(cluster) == before
    return said


def error_of(done: subprocess.CompletedProcess[str], code: int) -> str:
    """The error of a finished command, held to how errors look."""
    assert done.returncode == code, done.stderr + done.stdout
    assert "Traceback" not in done.stderr + done.stdout
    assert "fault of segue itself" not in done.stderr
    assert "\033" not in done.stderr + done.stdout
    lines = done.stderr.splitlines()
    starts = [index for index, line in enumerate(lines) if line.startswith("error: ")]
    assert len(starts) == 1, done.stderr
    return "\n".join(lines[starts[0] :]).removeprefix("error: ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bad:
    """A manifest that is off: what it is, where the error must point, and what it must say."""

    name: str
    text: str
    line: str = ""  # the text of the line that is named; "" where no line can be
    path: str = ""
    says: str = ""


def line_of(bad: Bad) -> int:
    """Number of the line that holds `bad.line`."""
    return next(number for number, line in enumerate(bad.text.splitlines(), 1) if bad.line in line)


BAD_MANIFESTS = [
    Bad(name="broken-yaml", text=GOOD.replace("  replicas: 3", " replicas: 3"), line="strategy:", says="not YAML"),
    Bad(name="a-tab", text=GOOD.replace("  replicas: 3", "\treplicas: 3"), line="replicas", says="not YAML"),
    Bad(name="no-object", text="just words\n", line="just words", path="$", says="text ('just words')"),
    Bad(name="a-list", text="- a\n- b\n", line="- a", path="$", says="a list"),
    Bad(name="empty", text="", says="no Kubernetes object"),
    Bad(name="comments-only", text="# nothing\n---\n", says="no Kubernetes object"),
    Bad(
        name="unknown-kind",
        text=GOOD.replace("kind: Deployment", "kind: Deplyment"),
        line="kind: Deplyment",
        path="$.kind",
        says="knows no kind Deplyment in apps/v1",
    ),
    Bad(
        name="unknown-version",
        text=GOOD.replace("apps/v1", "apps/v9"),
        line="apps/v9",
        path="$.apiVersion",
        says="does not know apiVersion apps/v9",
    ),
    Bad(
        name="unknown-field",
        text=GOOD.replace("replicas: 3", "replica: 3"),
        line="replica: 3",
        path="$.spec.replica",
        says='unknown field "spec.replica"',
    ),
    Bad(
        name="unknown-field-deep-in-the-template",
        text=GOOD.replace("image: ", "imagee: "),
        line="imagee: ",
        path="$.spec.template.spec.containers[0].imagee",
        says="unknown field",
    ),
    Bad(
        name="unknown-field-of-the-service",
        text=GOOD.replace("type: NodePort", "typ: NodePort"),
        line="typ: NodePort",
        path="$.spec.typ",
        says="unknown field",
    ),
    Bad(
        name="wrong-type",
        text=GOOD.replace("replicas: 3", 'replicas: "three"'),
        line='replicas: "three"',
        path="$.spec.replicas",
        says="cannot unmarshal string",
    ),
    Bad(
        name="negative",
        text=GOOD.replace("replicas: 3", "replicas: -3"),
        line="replicas: -3",
        path="$.spec.replicas",
        says="greater than or equal to 0",
    ),
    Bad(
        name="the-same-key-twice",
        text=GOOD.replace("replicas: 3", "replicas: 3\n  replicas: 4"),
        line="replicas: 4",
        path="$.spec.replicas",
        says="stands twice",
    ),
    Bad(
        name="immutable-selector",
        text=GOOD.replace("app/name: test", "app/name: other"),
        line="selector:",
        path="$.spec.selector",
        says="field is immutable",
    ),
    Bad(
        name="no-name",
        text=GOOD.replace("  name: test", "  nam: test", 1),
        line="metadata:",
        path="$.metadata.name",
        says="metadata.name is missing",
    ),
    Bad(
        name="no-such-namespace",
        text=GOOD.replace("  name: test", "  name: test\n  namespace: nowhere", 1),
        line="namespace: nowhere",
        path="$.metadata.namespace",
        says='namespaces "nowhere" not found',
    ),
    Bad(
        name="image-without-mapping",
        text=GOOD.replace("host.org/images/grace", "host.org/images/absent"),
        line="image: ",
        path="$.spec.template.spec.containers[0].image",
        says='no entry of the image map matches "host.org/images/absent:v0.2"',
    ),
    Bad(
        name="a-service-that-selects-nothing",
        text=GOOD.replace("  selector:\n    app/name: test", "  selector: # nobody\n    app/name: nobody"),
        line="selector: # nobody",
        path="$.spec.selector",
        says="Service test selects nothing: no pod carries app/name=nobody",
    ),
    Bad(name="no-deployment", text=SERVICE, line="kind: Service", path="$.kind", says="there is no Deployment in it"),
]


@pytest.mark.parametrize("bad", [pytest.param(bad, id=bad.name) for bad in BAD_MANIFESTS])
@pytest.mark.parametrize("command", ["plan", "release"])
def test_a_manifest_that_is_off_is_named_by_file_line_and_path(
    serving: Cluster, tmp_path: Path, command: str, bad: Bad
) -> None:
    file = tmp_path / "app.yaml"
    file.write_text(bad.text)
    said = refused(serving, command, "-f", str(file), code=3)
    place, _, _ = said.partition(": ")
    named = re.fullmatch(rf"{re.escape(str(file))}(?::(\d+))?(?: (\$\S*))?", place)

    assert named is not None, said
    assert bad.says in said
    assert (named.group(2) or "") == bad.path
    if bad.line:
        assert int(named.group(1)) == line_of(bad)


@pytest.mark.parametrize(
    ("name", "says"),
    [("absent.yaml", "no such file"), ("", "no manifest in this directory")],
    ids=["absent-file", "directory-without-manifests"],
)
def test_a_file_that_is_not_there_is_named(serving: Cluster, tmp_path: Path, name: str, says: str) -> None:
    said = refused(serving, "release", "-f", str(tmp_path / name), code=3)

    assert said.startswith(f"{tmp_path / name if name else tmp_path}: {says}")


def test_bytes_that_are_no_text_are_named(serving: Cluster, tmp_path: Path) -> None:
    (tmp_path / "app.yaml").write_bytes(b"\xff\xfe\x00\x01")

    assert "app.yaml: not UTF-8 text" in refused(serving, "plan", "-f", str(tmp_path / "app.yaml"), code=3)


def test_standard_input_is_named_too(serving: Cluster) -> None:
    before = world(serving)
    done = serving.run("segue", "release", "-f", "-", stdin="a: [")

    assert error_of(done, 3).startswith("<stdin>:")
    assert world(serving) == before


def test_a_deployment_without_any_service_is_refused_for_nothing_could_be_moved(
    serving: Cluster, tmp_path: Path
) -> None:
    alone = seed().partition("---")[0].replace("name: test", "name: alone")
    serving.kubectl("apply", "-f", "-", stdin=alone)
    serving.wait_ready(3, "app/name=alone")
    (tmp_path / "app.yaml").write_text(alone.replace("v0.1", "v0.2"))
    said = refused(serving, "release", "-f", str(tmp_path / "app.yaml"), code=7)
    serving.kubectl("delete", "deployment", "alone")

    assert "no Service selects" in said


# -- the command line ----------------------------------------------------------------------------------------------

LINES: list[tuple[list[str], int, str]] = [
    (["scale", "test", "-1"], 2, "-1 replicas: must be 0 or more"),
    (["scale", "test", "three"], 2, '"three" is not a whole number'),
    (["scale", "test"], 2, "REPLICAS is missing"),
    (["scale", "nope", "3"], 1, "there is no Deployment nope in namespace default"),
    (["undo", "nope"], 1, "there is no Deployment nope in namespace default"),
    (["undo", "test"], 7, "Deployment test has no earlier revision to go back to"),
    (["undo", "test", "--to-revision", "99"], 7, "has no revision 99"),
    (["history", "nope"], 1, "there is no Deployment nope"),
    (["status", "nope"], 1, "there is no Deployment nope"),
    (["abort", "nope"], 1, "there is no Deployment nope"),
    (["status", "test", "-n", "nowhere"], 1, "no Deployment test in namespace nowhere"),
    (["release"], 2, "--filename is missing"),
    (["release", "-f"], 2, "-f needs a value"),
    (["release", "--filname", "x"], 2, "unknown option --filname"),
    (["release", "-f", "APP", "--image", "v3"], 2, "must be NAME=TAG or NAME=IMAGE"),
    (["release", "-f", "APP", "--image", "nope=v3"], 2, "no container or image of the manifest is called nope"),
    (["release", "-f", "APP", "--timeout", "0"], 2, "--timeout 0: must be above 0 s"),
    (["release", "-f", "APP", "--drain-cap", "0"], 2, "--drain-cap 0: must be at least 2 s"),
    (["release", "-f", "APP", "--receipt", "/proc/nope/receipt.json"], 2, "--receipt /proc/nope/receipt.json"),
    (["release", "-f", "APP", "-o", "xml"], 2, 'invalid value "xml" for -o'),
    (["relase", "-f", "APP"], 2, 'unknown command "relase". Did you mean "release"?'),
    (["load"], 2, "URL is missing"),
    (["load", "ftp://127.0.0.1/"], 2, "must be an http:// URL"),
    (["load", "https://127.0.0.1/"], 2, "TLS is not spoken here yet"),
    (["load", "http://127.0.0.1:99999/"], 2, "Port out of range"),
    (["load", "http://127.0.0.1:1/", "--rate", "abc"], 2, '"abc" is not a number'),
    (["load", "http://127.0.0.1:1/", "--rate", "0"], 2, "--rate 0: must be above 0"),
    (["load", "http://127.0.0.1:1/", "--rate", "nan"], 2, "--rate nan: must be above 0"),
    (["load", "http://127.0.0.1:1/", "--for", "5x"], 2, "--for 5x: must be a time such as"),
    (["load", "http://127.0.0.1:1/", "--paths", "fast"], 2, "must begin with /"),
    (["load", "http://127.0.0.1:1/", "--slow", "-1"], 2, "0 or more"),
    (["load", "http://127.0.0.1:1/", "--records", "/proc/nope/r"], 2, "--records /proc/nope/r: cannot be written"),
    (["load", "http://nope.invalid/", "--for", "1"], 10, "http://nope.invalid/"),
    (["drill", "nope"], 2, "there is no drill named nope"),
    (["drill", "delete", "--rate", "0"], 2, "--rate 0"),
    (["drill", "delete", "--for", "5x"], 2, "--for 5x"),
    (["drill", "delete", "--deletes", "-1"], 2, "0 or more"),
    (["drill", "delete", "--cluster", "../x"], 2, "cannot be the name of a cluster"),
    (["drill", "delete", "--cluster", "nope"], 4, "no embedded cluster nope runs"),
    (["drill", "delete", "-f", "absent.yaml"], 3, "absent.yaml: no such file"),
    (["drill", "delete", "--report", "/proc/nope/r.html"], 2, "--report /proc/nope/r.html: cannot be written"),
    (["demo", "--rate", "0"], 2, "--rate 0"),
    (["demo", "--mode", "moon"], 2, "--mode moon"),
    (["up", "--prot", "3"], 2, "Did you mean --port?"),
    (["up", "--port", "70000"], 2, "--port 70000: must be 1 to 65535"),
    (["up", "--mode", "moon"], 2, "--mode moon: must be auto, namespaces or loopback"),
    (["up", "--set", "foo=1"], 2, "--set foo=1: not a setting"),
    (["up", "--set", "min_sync_s=abc"], 2, "'abc' is not a number"),
    (["up", "--set", "min_sync_s=-1"], 2, "must be 0 to 3600 seconds"),
    (["up", "--set", "node_name=A b"], 2, "is no name of a node"),
    (["up", "--name", "../../x"], 2, "cannot be the name of a cluster"),
    (["up", "--set", "data_plane_delay_s=8"], 6, "data_plane_delay_s is 0.05, asked for was 8.0"),
    (["up", "--mode", "loopback", "--port", "1"], 6, "up already, with other settings"),
    (["up", "--fresh"], 6, "its objects are kept"),
    (["kubeconfig", "--name", "nope"], 4, "no embedded cluster nope runs"),
    (["cluster", "status", "--name", "nope"], 4, "no embedded cluster nope runs"),
    (["cluster", "stat"], 2, 'Did you mean "status"?'),
]


@pytest.mark.parametrize(
    ("argv", "code", "says"), LINES, ids=[" ".join(row[0])[:60].replace("/", "_") for row in LINES]
)
def test_a_command_line_that_is_off_is_told_so(
    serving: Cluster, tmp_path: Path, argv: list[str], code: int, says: str
) -> None:
    (tmp_path / "app.yaml").write_text(GOOD)
    said = refused(serving, *(str(tmp_path / "app.yaml") if word == "APP" else word for word in argv), code=code)

    assert says in said
    assert len(said.splitlines()) <= 3


FIELDS = {
    "status": {
        *("deployment", "replicas", "ready", "version", "release", "drivenBy", "since", "versions", "services"),
    },
    "history": {"revision", "version", "replicas", "current", "images", "cause"},
    "load": {
        *("startS", "tookS", "requests", "ok", "okPerSecond", "lost", "ownFaults", "outcomes", "errnos", "versions"),
        *("latencyMs", "longestGapMs", "late", "latenessMaxMs", "seconds"),
    },
}


@pytest.mark.parametrize(
    ("page", "argv"),
    [
        ("commands.md", ["status", "test"]),
        ("commands.md", ["history", "test"]),
        ("load.md", ["load", "http://127.0.0.1:1/", "--for", "1", "--rate", "5"]),
    ],
)
def test_what_machines_read_has_the_fields_of_the_page(serving: Cluster, page: str, argv: list[str]) -> None:
    told = json.loads(serving.run("segue", *argv, "-o", "json").stdout)
    row = told[0] if isinstance(told, list) else told

    assert set(row) == FIELDS[argv[0]]
    for name in FIELDS[argv[0]]:
        assert f"`{name}`" in (ROOT / "docs" / "reference" / page).read_text()


def test_a_load_that_nobody_answers_is_all_lost(serving: Cluster) -> None:
    done = serving.run("segue", "load", "http://127.0.0.1:1/", "--for", "1", "--rate", "50", "-o", "json")
    tally = json.loads(done.stdout)

    assert done.returncode == 9
    assert (tally["lost"], tally["outcomes"]) == (50, {"connect-refused": 50})


def test_records_that_no_longer_fit_are_named(serving: Cluster) -> None:
    done = serving.run("segue", "load", "http://127.0.0.1:1/", "--for", "1", "--rate", "50", "--records", "/dev/full")

    assert "its records cannot be kept in /dev/full: No space left on device" in error_of(done, 10)


def test_a_report_that_no_longer_fits_is_named_after_the_result(serving: Cluster, tmp_path: Path) -> None:
    (tmp_path / "app.yaml").write_text(seed())
    done = serving.run(
        *("segue", "drill", "baseline", "-f", str(tmp_path / "app.yaml")),
        *("--for", "2s", "--rate", "50", "--report", "/dev/full"),
    )

    assert "the report cannot be written to /dev/full: No space left on device" in error_of(done, 1)
    assert "no request was lost" in done.stdout
    assert not Path("/dev/full").is_file()


# -- the cluster -----------------------------------------------------------------------------------------------------


def test_a_second_up_finds_the_first(serving: Cluster) -> None:
    before = world(serving)
    done = serving.run("segue", "up")

    assert done.returncode == 0
    assert done.stderr.startswith("already up: https://127.0.0.1:")
    assert world(serving) == before


def test_two_ups_at_the_same_time_make_one_cluster(tmp_path: Path) -> None:
    env = {**os.environ, "SEGUE_HOME": str(tmp_path)}
    argv = [str(BIN / "segue"), "up", "-o", "json"]
    both = [subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    told = [json.loads(process.communicate(timeout=60)[0]) for process in both]
    embedded.stop(tmp_path / "default")

    assert told[0]["pid"] == told[1]["pid"]
    assert [process.returncode for process in both] == [0, 0]


def test_a_port_in_use_is_named_and_nothing_stays_behind(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        env = {**os.environ, "SEGUE_HOME": str(tmp_path), "NO_COLOR": "1"}
        done = subprocess.run(
            [str(BIN / "segue"), "up", "--port", str(port)], env=env, text=True, capture_output=True, check=False
        )

    assert f"port {port} of 127.0.0.1 is in use" in error_of(done, 10)
    assert not (tmp_path / "default" / "cluster.json").exists()
    wait_until(lambda: not processes_with(str(tmp_path)), what="the end of what was started")


def processes_with(text: str) -> list[str]:
    """Processes whose command line holds a text."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and entry.name != str(os.getpid()):
            try:
                argv = (entry / "cmdline").read_bytes().decode(errors="replace")
            except OSError:
                continue
            if text in argv:
                found.append(argv)
    return found


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("absent.yaml", None, "the image map cannot be read: No such file or directory"),
        ("broken.yaml", "images: [", "not YAML"),
        ("odd.yaml", "images:\n  - match: nginx\n", '$.images[0].match: unknown field "match"'),
    ],
)
def test_an_image_map_that_is_off_starts_nothing(tmp_path: Path, name: str, text: str | None, says: str) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    env = {**os.environ, "SEGUE_HOME": str(tmp_path / "home"), "NO_COLOR": "1"}
    argv = [str(BIN / "segue"), "up", "--image-map", str(tmp_path / name)]
    said = error_of(subprocess.run(argv, env=env, text=True, capture_output=True, check=False), 3)

    assert said.startswith(str(tmp_path / name))
    assert says in said
    assert not (tmp_path / "home" / "default" / "cluster.json").exists()


@pytest.mark.parametrize("home", ["/proc/nope", "FILE"])
def test_a_state_directory_that_cannot_be_is_named(tmp_path: Path, home: str) -> None:
    (tmp_path / "file").write_text("")
    home = str(tmp_path / "file") if home == "FILE" else home
    env = {**os.environ, "SEGUE_HOME": home, "NO_COLOR": "1"}
    done = subprocess.run([str(BIN / "segue"), "up"], env=env, text=True, capture_output=True, check=False)
    said = error_of(done, 10)

    assert home in said
    assert "set SEGUE_HOME" in said


# -- who we are to the API -------------------------------------------------------------------------------------------


def with_kubeconfig(cluster: Cluster, path: Path, **changes: str) -> str:
    """A kubeconfig like the cluster's, with lines changed."""
    text = (cluster.state / "kubeconfig").read_text()
    for key, value in changes.items():
        text = re.sub(rf"(?m)^(\s*(?:- )?{key}: ).*$", rf"\g<1>{value}", text)
    path.write_text(text)
    return str(path)


def test_no_kubeconfig_is_told_with_the_remedy(serving: Cluster, tmp_path: Path) -> None:
    env = {"KUBECONFIG": "", "HOME": str(tmp_path), "SEGUE_HOME": str(tmp_path / "none")}

    assert "no kubeconfig found" in refused(serving, "status", code=4, env=env)


@pytest.mark.parametrize(
    ("text", "says"),
    [(None, "no such file"), ("words", "is no kubeconfig"), ("a: [", "is no kubeconfig: line"), ("", "no kubeconfig")],
    ids=["absent", "words", "broken", "empty"],
)
def test_a_kubeconfig_that_is_none_is_named(serving: Cluster, tmp_path: Path, text: str | None, says: str) -> None:
    path = tmp_path / "kubeconfig"
    if text is not None:
        path.write_text(text)
    said = refused(serving, "status", "--kubeconfig", str(path), code=4)

    assert str(path) in said
    assert says in said


def test_a_context_that_is_not_there_is_named(serving: Cluster) -> None:
    assert "nope" in refused(serving, "status", "--context", "nope", code=4)


def test_a_dead_port_is_told_as_nobody_answering(serving: Cluster, tmp_path: Path) -> None:
    path = with_kubeconfig(serving, tmp_path / "dead", server="https://127.0.0.1:1")

    assert "no API server answers at https://127.0.0.1:1" in refused(serving, "status", "--kubeconfig", path, code=4)


def test_a_server_that_is_no_kubernetes_is_told_so(serving: Cluster, tmp_path: Path) -> None:
    port = serving.get("service", "test")["spec"]["ports"][0]["nodePort"]
    path = with_kubeconfig(serving, tmp_path / "other", server=f"http://127.0.0.1:{port}")
    said = refused(serving, "status", "--kubeconfig", path, code=4)

    assert "what answers is no Kubernetes API" in said


def test_a_wrong_token_is_told_as_not_being_known(serving: Cluster, tmp_path: Path) -> None:
    path = with_kubeconfig(serving, tmp_path / "wrong", token="wrong")

    assert "does not know who we are" in refused(serving, "status", "--kubeconfig", path, code=4)


@pytest.mark.parametrize("argv", [["release", "-f", "APP"], ["plan", "-f", "APP"], ["scale", "test", "2"]])
def test_who_may_only_read_is_told_what_is_forbidden(serving: Cluster, tmp_path: Path, argv: list[str]) -> None:
    (tmp_path / "app.yaml").write_text(GOOD)
    words = [str(tmp_path / "app.yaml") if word == "APP" else word for word in argv]
    said = refused(serving, *words, "--kubeconfig", str(serving.state / "kubeconfig.viewer"), code=5)

    assert 'User "segue-viewer" cannot' in said
    assert "docs/reference/plan.md" in said
    assert (ROOT / "docs/reference/plan.md").is_file()


# -- releases that cannot end -----------------------------------------------------------------------------------------


def load_of(cluster: Cluster, for_s: int) -> subprocess.Popen[str]:
    """A small load on the Service while something else happens."""
    port = cluster.get("service", "test")["spec"]["ports"][0]["nodePort"]
    url = f"http://{cluster.running.node_ip}:{port}/fast"
    argv = [str(BIN / "segue"), "load", url, "--rate", "200", "--for", f"{for_s}s", "-o", "json"]
    return subprocess.Popen(argv, env=cluster.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_pods_that_never_become_ready_stop_the_release_while_the_old_ones_serve(
    serving: Cluster, tmp_path: Path
) -> None:
    file = tmp_path / "app.yaml"
    file.write_text(UNHEALTHY)
    old = {pod["metadata"]["name"] for pod in serving.ready_pods()}
    load = load_of(serving, 9)
    stopped = serving.run("segue", "release", "-f", str(file), "--timeout", "4")
    said = error_of(stopped, 8)
    again = serving.run("segue", "release", "-f", str(file), "--timeout", "2")
    error_of(again, 8)
    aborted = serving.run("segue", "abort", "test")
    tally = json.loads(load.communicate(timeout=60)[0])

    assert "0 of 3 new pods are Ready after 4 s" in said
    assert re.search(r"test-[a-z0-9]+-[a-z0-9]{5}", said), said
    assert "statuscode: 404" in said
    assert "the 3 old pods keep serving" in said
    assert "segue abort" in said
    assert aborted.returncode == 0, aborted.stderr
    assert {pod["metadata"]["name"] for pod in serving.ready_pods()} == old
    assert (tally["lost"], tally["ownFaults"], tally["versions"]) == (0, 0, {"v0.1": tally["ok"]}), tally


def test_a_stopped_release_says_so_to_machines_too(serving: Cluster, tmp_path: Path) -> None:
    (tmp_path / "app.yaml").write_text(UNHEALTHY)
    stopped = serving.run("segue", "release", "-f", str(tmp_path / "app.yaml"), "--timeout", "2", "-o", "json")
    status = json.loads(serving.run("segue", "status", "test", "-o", "json").stdout)
    aborted = serving.run("segue", "abort", "test", "-o", "yaml")

    assert "0 of 3 new pods" in error_of(stopped, 8)
    assert json.loads(stopped.stdout)["asked"]["command"] == "release"
    assert "the old version serves" in status["release"]
    assert (status["ready"], status["replicas"]) == (3, 3)
    assert status["version"] == serving.ready_pods()[0]["metadata"]["labels"]["pod-template-hash"]
    assert aborted.stdout.startswith("format: segue.dev/receipt/v0")


def test_a_second_release_at_the_same_time_is_refused(serving: Cluster, tmp_path: Path) -> None:
    (tmp_path / "app.yaml").write_text(UNHEALTHY)
    argv = [str(BIN / "segue"), "release", "-f", str(tmp_path / "app.yaml"), "--timeout", "30"]
    first = subprocess.Popen(argv, env=serving.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(
        lambda: "under way for" in json.loads(serving.run("segue", "status", "test", "-o", "json").stdout)["release"],
        limit_s=20,
        every_s=0.2,
        what="the first release",
    )
    (tmp_path / "good.yaml").write_text(GOOD)
    answers = [
        serving.run("segue", *words)
        for words in (
            ["release", "-f", str(tmp_path / "app.yaml")],
            ["release", "-f", str(tmp_path / "good.yaml")],
            ["abort", "test"],
            ["scale", "test", "1"],
            ["undo", "test"],
        )
    ]
    first.terminate()
    ended = first.wait(timeout=20)
    aborted = serving.run("segue", "abort", "test")

    assert ended == 130
    for answer in answers[:3]:
        assert "another segue drives Deployment test now" in error_of(answer, 6)
    assert [answer.returncode in (6, 7) for answer in answers[3:]] == [True, True], [a.stderr for a in answers]
    assert aborted.returncode == 0, aborted.stderr
    assert len(serving.ready_pods()) == 3
