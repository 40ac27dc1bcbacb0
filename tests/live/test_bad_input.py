"""A careless user at the command line: one clear error with its exit code, no traceback, and nothing is changed."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from segue.host import embedded
from segue.model.objects import Obj
from tests.live.conftest import Cluster, seed, start_cluster
from tests.live.console import BIN
from tests.waiting import wait_until

pytestmark = pytest.mark.live

KINDS = "deployments,replicasets,pods,services,endpointslices,configmaps,secrets,serviceaccounts,leases,namespaces"
GOOD = seed(version="v0.2")


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
    """Every object, with its resourceVersion; the node's own heartbeat is nobody's change."""
    return [
        item for item in cluster.get(KINDS, "-A")["items"] if item["metadata"].get("namespace") != "kube-node-lease"
    ]


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


# -- the command line ----------------------------------------------------------------------------------------------

LINES: list[tuple[list[str], int, str]] = [
    (["scale", "test", "three"], 2, '"three" is not a whole number'),
    (["scale", "test"], 2, "REPLICAS is missing"),
    (["release"], 2, "release is told nothing to release"),
    (["release", "-f"], 2, "-f needs a value"),
    (["release", "--filname", "x"], 2, "unknown option: --filname"),
    (["release", "-f", "APP", "--image", "v3"], 2, "must be NAME=TAG or NAME=IMAGE"),
    (["release", "-f", "APP", "--drain-cap", "0"], 2, "--drain-cap 0: must be at least 2 s"),
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


def test_a_receipt_that_no_longer_fits_hides_no_end_of_a_release(serving: Cluster, tmp_path: Path) -> None:
    (tmp_path / "app.yaml").write_text(seed())
    assert serving.run("kubectl", "apply", "-f", str(tmp_path / "app.yaml")).returncode == 0
    done = serving.run("segue", "release", "-f", str(tmp_path / "app.yaml"), "--receipt", "/dev/full")

    assert "/dev/full" in error_of(done, 1)
    assert "Deployment test has 3 Ready pods" in done.stdout


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


@pytest.mark.parametrize(
    ("text", "says"),
    [("a: [", "is no kubeconfig: line"), ("", "no kubeconfig")],
    ids=["broken", "empty"],
)
def test_a_kubeconfig_that_is_none_is_named(serving: Cluster, tmp_path: Path, text: str | None, says: str) -> None:
    path = tmp_path / "kubeconfig"
    if text is not None:
        path.write_text(text)
    said = refused(serving, "status", "--kubeconfig", str(path), code=4)

    assert str(path) in said
    assert says in said
