"""A careless user: one clear error with its exit code, at its line of the file, and nothing is changed."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from segue.model.objects import Obj
from tests.live.both.user.app import LABEL, NAME, V1, V2, App, error_of
from tests.live.conftest import ROOT
from tests.waiting import wait_until

pytestmark = pytest.mark.live

STATEMENTS = {
    "exit codes": "1 what is named is not there, 2 a wrong command line, 3 a file that is off, 4 no cluster, 5 no "
    "rights, 6 somebody else is at work, 7 refused, 8 unfinished, 9 lost, 130 stopped.",
    "bad manifest": "A manifest that is off is named by file, line and path, in the API server's words (exit code 3).",
    "missing image": "An image that is not there takes no traffic away: the old pods serve, the error says which.",
    "no rights": "Who may only read is told what is forbidden (exit code 5) and changes nothing.",
    "no cluster": "No kubeconfig, a broken one, an unknown context, a dead port, another server, a wrong token are "
    "told apart (exit code 4), each with a remedy.",
}
NOT_COVERED = {
    "exit code 10": "a fault of the machine, not of a cluster: tests/live/test_bad_input.py",
}
DIFFERENCES = {
    "missing image": "embedded: refused before anything is done, exit code 3, for its image map is known; real: only "
    "the node finds out, the progress line says ErrImagePull after about 1 s, and the release ends at --timeout with "
    "exit code 8. The old pods serve in both.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bad:
    """A manifest that is off: where the error must point, and what it must say."""

    name: str
    text: str
    line: str = ""  # the text of the line that is named; "" where no line can be
    path: str = ""
    says: str = ""


def but(old: str, new: str) -> str:
    """The good manifest with one thing changed."""
    assert old in V2
    return V2.replace(old, new, 1)


SERVICE = V2.partition("---")[2]
MANIFESTS = [
    Bad(name="broken YAML", text=but("  replicas: 3", " replicas: 3"), line="strategy:", says="not YAML"),
    Bad(name="a tab", text=but("  replicas: 3", "\treplicas: 3"), line="replicas", says="not YAML"),
    Bad(name="no object", text="just words\n", line="just words", path="$", says="text ('just words')"),
    Bad(name="a list", text="- a\n- b\n", line="- a", path="$", says="a list"),
    Bad(name="comments only", text="# nothing\n---\n", says="no Kubernetes object"),
    Bad(name="empty", text="", says="no Kubernetes object"),
    Bad(
        name="unknown kind",
        text=but("kind: Deployment", "kind: Deplyment"),
        line="kind: Deplyment",
        path="$.kind",
        says="knows no kind Deplyment in apps/v1",
    ),
    Bad(
        name="unknown version",
        text=but("apps/v1", "apps/v9"),
        line="apps/v9",
        path="$.apiVersion",
        says="does not know apiVersion apps/v9",
    ),
    Bad(
        name="unknown field",
        text=but("replicas: 3", "replica: 3"),
        line="replica: 3",
        path="$.spec.replica",
        says='unknown field "spec.replica"',
    ),
    Bad(
        name="unknown field deep in the template",
        text=but("image: ", "imagee: "),
        line="imagee: ",
        path="$.spec.template.spec.containers[0].imagee",
        says="unknown field",
    ),
    Bad(
        name="unknown field of the Service",
        text=but("type: NodePort", "typ: NodePort"),
        line="typ: NodePort",
        path="$.spec.typ",
        says="unknown field",
    ),
    Bad(
        name="wrong type",
        text=but("replicas: 3", 'replicas: "three"'),
        line='replicas: "three"',
        path="$.spec.replicas",
        says="cannot unmarshal string",
    ),
    Bad(
        name="negative",
        text=but("replicas: 3", "replicas: -3"),
        line="replicas: -3",
        path="$.spec.replicas",
        says="greater than or equal to 0",
    ),
    Bad(
        name="the same key twice",
        text=but("replicas: 3", "replicas: 3\n  replicas: 4"),
        line="replicas: 4",
        path="$.spec.replicas",
        says="stands twice",
    ),
    Bad(
        name="immutable selector",
        text=V2.replace("app/name: test", "app/name: other"),
        line="selector:",
        path="$.spec.selector",
        says="field is immutable",
    ),
    Bad(
        name="no name",
        text=but("  name: test", "  nam: test"),
        line="metadata:",
        path="$.metadata.name",
        says="metadata.name is missing",
    ),
    Bad(
        name="no such namespace",
        text=but("  name: test", "  name: test\n  namespace: nowhere"),
        line="namespace: nowhere",
        path="$.metadata.namespace",
        says='namespaces "nowhere" not found',
    ),
    Bad(
        name="a Service that selects nothing",
        text=but("  type: NodePort", "  # NodePort").replace(
            "  selector:\n    app/name: test\n", "  selector: # nobody\n    app/name: nobody\n"
        ),
        line="selector: # nobody",
        path="$.spec.selector",
        says="Service test selects nothing: no pod carries app/name=nobody",
    ),
    Bad(
        name="no Deployment",
        text=SERVICE,
        line="kind: Service",
        path="$.kind",
        says="there is no Deployment, StatefulSet or DaemonSet in it",
    ),
]


def fault_of(bad: Bad, file: Path, said: str) -> str:
    """What is wrong with an error; "" where it is as it should be."""
    place, _, _ = said.partition(": ")
    named = re.fullmatch(rf"{re.escape(str(file))}(?::(\d+))?(?: (\$\S*))?", place)
    if named is None:
        return f"{bad.name}: no place in {said!r}"
    if bad.says not in said or (named[2] or "") != bad.path:
        return f"{bad.name}: {said!r}"
    wanted = [number for number, line in enumerate(bad.text.splitlines(), 1) if bad.line in line]
    return f"{bad.name}: another line: {said!r}" if bad.line and int(named[1]) != wanted[0] else ""


@pytest.mark.states("bad manifest", "exit codes")
@pytest.mark.parametrize("command", ["release", pytest.param("plan", marks=pytest.mark.full)])
def test_a_manifest_that_is_off_is_named_by_file_line_and_path(serving: App, command: str) -> None:
    before = settled(serving)
    file = serving.home / "app.yaml"
    faults = []
    for bad in MANIFESTS:
        file.write_text(bad.text)
        faults.append(fault_of(bad, file, error_of(serving.segue(command, "-f", str(file)), 3)))

    assert [fault for fault in faults if fault] == []
    assert serving.kept() == before


def settled(app: App) -> list[Obj]:
    """All objects, once the cluster has nothing more to write about them by itself."""
    app.place.kubectl("rollout", "status", f"deployment/{NAME}", "--timeout", "20s")
    wait_until(
        lambda: app.deployment()["status"].get("observedGeneration") == app.deployment()["metadata"]["generation"],
        what="the controller to have caught up",
    )
    return app.kept()


LINES: list[tuple[list[str], int, str]] = [
    (["scale", "test", "-1"], 2, "-1 replicas: must be 0 or more"),
    (["scale", "nope", "3"], 1, "there is no Deployment nope in namespace NAMESPACE"),
    (["undo", "nope"], 1, "there is no Deployment nope in namespace NAMESPACE"),
    (["undo", "test"], 7, "Deployment test has no earlier revision to go back to"),
    (["undo", "test", "--to-revision", "99"], 7, "has no revision 99"),
    (["history", "nope"], 1, "there is no Deployment nope"),
    (["status", "nope"], 1, "there is no Deployment nope"),
    (["status", "test", "-n", "nowhere"], 1, "no Deployment test in namespace nowhere"),
    (["abort", "nope"], 1, "there is no Deployment nope"),
    (["release", "-f", "absent.yaml"], 3, "absent.yaml: no such file"),
    (["release", "-f", "app.yaml", "--image", "nope=v3"], 2, "no container or image of the manifest is called nope"),
    (["release", "-f", "app.yaml", "--timeout", "0"], 2, "--timeout 0: must be above 0 s"),
    (["release", "-f", "app.yaml", "--receipt", "/proc/nope/receipt.json"], 2, "--receipt /proc/nope/receipt.json"),
    (["status", "--context", "nope"], 4, "nope"),
    (["status", "--kubeconfig", "absent"], 4, "absent: no such file"),
    (["status", "--kubeconfig", "app.yaml"], 4, "app.yaml is no kubeconfig"),
]


@pytest.mark.states("exit codes", "no cluster")
def test_a_command_line_that_is_off_is_told_so(serving: App) -> None:
    serving.file(V2)
    before = settled(serving)
    faults = []
    for argv, code, says in LINES:
        said = error_of(serving.segue(*argv), code)
        if says.replace("NAMESPACE", serving.place.namespace) not in said or len(said.splitlines()) > 3:
            faults.append(f"{argv}: {said}")

    assert faults == []
    assert serving.kept() == before


@pytest.mark.states("exit codes")
def test_what_would_lose_requests_is_refused(serving: App) -> None:
    place = serving.place
    alone = V1.partition("---")[0].replace("name: test", "name: alone")
    place.kubectl("apply", "-f", "-", stdin=alone)
    place.wait_ready_pods(3, "app/name=alone")
    said = serving.refused("release", "-f", serving.file(alone.replace("v0.1", "v0.2")), code=7)
    place.kubectl("delete", "deployment", "alone")
    place.kubectl("rollout", "pause", f"deployment/{NAME}")
    paused = error_of(serving.segue("release", "-f", serving.file(V2)), 7)
    place.kubectl("rollout", "resume", f"deployment/{NAME}")
    zero = error_of(serving.segue("release", "-f", serving.file(but("replicas: 3", "replicas: 0"))), 7)

    assert "no Service selects" in said
    assert "is paused" in paused
    assert "0 replicas" in zero
    assert serving.versions() == {"v0.1"}


# -- images that are not there -----------------------------------------------------------------------------------------


@pytest.mark.states("missing image", "bad manifest")
@pytest.mark.only("embedded", "a real API server knows no images: only a node finds out")
def test_an_image_without_a_mapping_is_named_before_anything_is_done(serving: App) -> None:
    before = settled(serving)
    file = serving.file(but("images/grace", "images/absent"))
    said = error_of(serving.segue("release", "-f", file), 3)

    assert 'no entry of the image map matches "host.org/images/absent:v0.2"' in said
    assert "$.spec.template.spec.containers[0].image" in said
    assert serving.kept() == before


@pytest.mark.states("missing image", "segue status")
@pytest.mark.only("real", "the embedded API server refuses an image without a mapping")
def test_an_image_that_cannot_be_pulled_is_told_while_the_old_pods_serve(serving: App) -> None:
    file = serving.file(but("images/grace", "images/absent"))
    old = {pod["metadata"]["name"] for pod in serving.pods()}
    with serving.load() as tally:
        going = serving.start("release", "-f", file)
        assert going.until("ErrImagePull"), going.told  # while it waits, long before its limit
        status = serving.done("status", NAME)
        going.process.terminate()
        assert going.end()[0] == 130
        said = error_of(serving.segue("release", "-f", file, "--timeout", "1"), 8)
        serving.done("abort", NAME)

    assert "ErrImagePull" in status or "ImagePullBackOff" in status
    assert 'host.org/images/absent:v0.2"' in said
    assert said.count("dial tcp") <= 1  # the node's long words once, not once for each pod
    assert "the 3 old pods keep serving" in said
    assert {pod["metadata"]["name"] for pod in serving.pods()} == old
    tally.check_none_lost()


# -- who we are to the API ---------------------------------------------------------------------------------------------


def with_kubeconfig(app: App, name: str, **changes: str) -> str:
    """A kubeconfig like the user's own, with lines changed; credentials go by token."""
    text = Path(app.env["KUBECONFIG"]).read_text()
    for key, value in changes.items():
        text = re.sub(rf"(?m)^(\s*(?:- )?{key}: ).*$", rf"\g<1>{value}", text)
    return app.file(text, name)


class NotFound(BaseHTTPRequestHandler):
    """Any other web server."""

    def do_GET(self) -> None:
        """Nothing is here."""
        self.send_error(404)

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


@contextmanager
def other_server() -> Iterator[int]:
    """The port of a web server that is no Kubernetes."""
    with ThreadingHTTPServer(("127.0.0.1", 0), NotFound) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.mark.states("no cluster", "exit codes")
def test_ways_to_have_no_cluster_are_told_apart(serving: App) -> None:
    nothing = {"KUBECONFIG": ""}
    with other_server() as other:
        answers = {
            "no kubeconfig found": serving.segue("status", env=nothing),
            "no API server answers at https://127.0.0.1:1": serving.segue(
                "status", "--kubeconfig", with_kubeconfig(serving, "dead", server="https://127.0.0.1:1")
            ),
            "no Kubernetes API": serving.segue(
                "status", "--kubeconfig", with_kubeconfig(serving, "other", server=f"http://127.0.0.1:{other}")
            ),
            "is no kubeconfig": serving.segue("status", "--kubeconfig", serving.file("words", "words")),
        }
    for says, answer in answers.items():
        said = error_of(answer, 4)
        assert says in said
        assert len(said.splitlines()) >= 2  # a remedy


@pytest.mark.states("no cluster")
def test_a_wrong_token_is_told_as_not_being_known(serving: App) -> None:
    viewer = (serving.place.world.state / "kubeconfig.viewer").read_text()
    wrong = serving.file(re.sub(r"(?m)^(\s*token: ).*$", r"\g<1>wrong", viewer), "wrong")

    assert "does not know who we are" in serving.refused("status", "--kubeconfig", wrong, code=4)


@pytest.mark.states("no rights", "exit codes")
def test_who_may_only_read_is_told_what_is_forbidden(serving: App) -> None:
    before = settled(serving)
    file = serving.file(V2)
    who = ["--kubeconfig", str(serving.place.world.state / "kubeconfig.viewer"), "-n", serving.place.namespace]
    for argv in (["release", "-f", file], ["plan", "-f", file], ["scale", NAME, "2"], ["release", "-f", "v1.yaml"]):
        said = error_of(serving.segue(*argv, *who), 5)
        assert re.search(r'User "[^"]+" cannot (patch|create)', said), said
        assert "docs/reference/plan.md" in said
    seen = serving.done("status", NAME, *who)
    listed = serving.done("history", NAME, *who)

    assert (ROOT / "docs/reference/plan.md").is_file()
    assert "3 of 3 Ready" in seen
    assert "(now)" in listed
    assert serving.kept() == before
    assert len(serving.place.all("pods", LABEL)) == 3
