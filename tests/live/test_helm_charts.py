"""Real Helm, built as a Go tool: what it renders is judged and repaired, and the example's library chart is clean."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from testbed.building import HELM, HELM_4, build_tool
from tests.live.console import BIN

pytestmark = [pytest.mark.live, pytest.mark.full]
CHART = Path(__file__).resolve().parents[2] / "examples" / "helm" / "web"
POST_RENDERER = CHART.parent / "post-renderer"
PLAIN = """
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ .Release.Name }}
spec:
  replicas: 3
  selector:
    matchLabels: {app: plain}
  template:
    metadata:
      labels: {app: plain}
    spec:
      containers:
        - name: web
          image: host.org/images/web:v1
          ports: [{name: http, containerPort: 8080}]
          readinessProbe:
            httpGet: {path: /ready, port: http}
---
apiVersion: v1
kind: Service
metadata:
  name: {{ .Release.Name }}
spec:
  selector: {app: plain}
  ports: [{port: 80, targetPort: http}]
"""


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


@pytest.fixture(scope="module")
def helm() -> str:
    """The program; built once, kept in the cache."""
    return str(build_tool(HELM, _say) / "helm")


def run(*argv: str, home: Path, stdin: str = "", code: int = 0) -> str:
    """Run a command that reads and keeps nothing outside `home`."""
    env = {**os.environ, "HOME": str(home), "PATH": f"{BIN}:{os.environ['PATH']}", "NO_COLOR": "1"}
    done = subprocess.run(argv, env=env, cwd=home, input=stdin, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def plain(home: Path) -> Path:
    """A chart as people write it: no preStop, no budget."""
    chart = home / "plain"
    (chart / "templates").mkdir(parents=True)
    (chart / "Chart.yaml").write_text("apiVersion: v2\nname: plain\nversion: 0.1.0\n")
    (chart / "templates" / "plain.yaml").write_text(PLAIN)
    return chart


@pytest.mark.parametrize("values", [[], ["replicas=2", "propagationSeconds=15", "startSeconds=121"]])
def test_the_library_chart_renders_to_what_loses_nothing(helm: str, values: list[str], tmp_path: Path) -> None:
    options = [part for value in values for part in ("--set", value)]
    rendered = run(helm, "template", "web", str(CHART), *options, home=tmp_path)

    said = run("segue", "check", "--fail-on", "info", "-", home=tmp_path, stdin=rendered)

    assert said == "3 objects: nothing that would lose requests\n"


def test_what_helm_renders_is_judged_and_its_chart_is_not(helm: str, tmp_path: Path) -> None:
    chart = plain(tmp_path)
    rendered = run(helm, "template", "web", str(chart), home=tmp_path)

    assert "error ZD101 no-drain-delay  Deployment web" in run(
        "segue", "check", "-", home=tmp_path, stdin=rendered, code=11
    )
    run("segue", "check", str(chart), home=tmp_path, code=3)


def test_as_a_post_renderer_segue_repairs_what_is_installed(helm: str, tmp_path: Path) -> None:
    render = ["template", "web", str(plain(tmp_path)), "--post-renderer", "segue"]
    for word in ("fix", "--write", "-"):
        render += ["--post-renderer-args", word]

    repaired = run(helm, *render, home=tmp_path)

    assert "preStop:" in repaired
    assert "kind: PodDisruptionBudget" in repaired
    run("segue", "check", "--fail-on", "info", "-", home=tmp_path, stdin=repaired)


@pytest.mark.timeout(900)  # the first time it is built
def test_as_a_plugin_of_helm_4_segue_repairs_what_is_installed(tmp_path: Path) -> None:
    """There a post-renderer is a plugin; examples/helm/post-renderer is one."""
    helm = str(build_tool(HELM_4, _say) / "helm")
    run(helm, "plugin", "install", str(POST_RENDERER), home=tmp_path)

    repaired = run(helm, "template", "web", str(plain(tmp_path)), "--post-renderer", "segue-fix", home=tmp_path)

    assert "preStop:" in repaired
    assert "kind: PodDisruptionBudget" in repaired
    run("segue", "check", "--fail-on", "info", "-", home=tmp_path, stdin=repaired)
