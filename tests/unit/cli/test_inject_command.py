"""What `segue inject` and `uninject` say and write, and what they refuse."""

from __future__ import annotations

from pathlib import Path

import pytest

from segue.cli.main import run

WEB = """\
apiVersion: v1
kind: Pod
metadata:
  name: web
spec:
  containers:
  - name: web
    image: example.org/web:1
"""
IMAGE = ("--agent-image", "example.org/agent:v1")


@pytest.fixture
def web(tmp_path: Path) -> Path:
    file = tmp_path / "web.yaml"
    file.write_text(WEB)
    file.chmod(0o640)
    return file


def test_it_prints_and_leaves_the_file(web: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = run(["inject", "-f", str(web), *IMAGE])
    told = capsys.readouterr()

    assert code == 0
    assert "name: segue-agent" in told.out
    assert told.err == "Pod web: agent, and a hook in web; grace 30 s -> 90 s\n"
    assert web.read_text() == WEB


def test_write_changes_the_file_and_uninject_gives_it_back(web: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["inject", "-f", str(web), *IMAGE, "--write", "--wait-cap", "20"]) == 0
    changed = web.read_text()
    assert run(["uninject", "-f", str(web), "--write"]) == 0

    assert "terminationGracePeriodSeconds: 50" in changed
    assert web.read_text() == WEB
    assert web.stat().st_mode & 0o777 == 0o640
    assert capsys.readouterr().out == ""


def test_a_folder_is_printed_as_one_stream_and_its_services_tell_the_ports(
    web: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    service = "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {selector: {a: b}, ports: [{port: 81}]}\n"
    (web.parent / "a-service.yaml").write_text(service)
    web.write_text(WEB.replace("  name: web\nspec", "  name: web\n  labels: {a: b}\nspec"))

    assert run(["inject", "-f", str(web.parent), *IMAGE]) == 0
    text = capsys.readouterr().out
    assert text.startswith(service + "---\n")
    assert "value: '81'" in text


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        (["inject", "-f", "WEB"], 2, "--agent-image is missing"),
        (["inject", "-f", "-", *IMAGE, "--write"], 2, "--write needs files"),
        (["inject", "-f", "WEB", *IMAGE, "--wait-cap", "0"], 2, "--wait-cap 0: must be above 0"),
        (["inject", "-f", "WEB", *IMAGE, "--wait-cap", "nan"], 2, "--wait-cap nan"),
        (["inject", "-f", "WEB", *IMAGE, "--wait-cap", "3"], 2, "--propagation 5 is longer"),
        (["inject", "-f", "WEB", *IMAGE, "--port", "70000"], 2, "--port"),
        (["inject", "-f", "nowhere.yaml", *IMAGE], 3, "no such file"),
        (["inject", "-f", "EMPTY", *IMAGE], 3, "there is no Kubernetes object in it"),
        (["inject", "-f", "MAP", *IMAGE], 3, "no Deployment, StatefulSet"),
        (["inject", "-f", "JSON", *IMAGE, "--write"], 2, "JSON cannot keep"),
        (["uninject", "-f", "BROKEN"], 3, "segue inject: begin"),
    ],
)
def test_what_is_refused(web: Path, capsys: pytest.CaptureFixture[str], argv: list[str], code: int, said: str) -> None:
    texts = {
        "EMPTY": ("empty.yaml", "# nothing\n"),
        "MAP": ("map.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n"),
        "JSON": (
            "web.json",
            '{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "w"}, "spec": {"containers": []}}',
        ),
        "BROKEN": ("broken.yaml", WEB + "# segue inject: begin\n"),
        "WEB": ("web.yaml", WEB),
    }
    for word, (name, text) in texts.items():
        if word in argv:
            (web.parent / name).write_text(text)
            argv = [str(web.parent / name) if one == word else one for one in argv]

    assert run(argv) == code
    assert said in capsys.readouterr().err
