"""The pipelines in examples/pipelines: well-formed, the same four commands in each, and they do what they say."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from segue.model.objects import Obj
from tests.live.both import rollouts
from tests.live.both.test_rules_lose_requests import door, inner, sleeps, web
from tests.live.both.world import Place
from tests.live.console import BIN

ROOT = Path(__file__).resolve().parents[3]
PIPELINES = ROOT / "examples" / "pipelines"
NAMES = ("gitlab-ci.yml", "github/action.yml", "Jenkinsfile")
VERBS = ["check", "plan", "release", "receipt"]


def scripts(name: str) -> Iterator[str]:
    """The command lines of a pipeline, in order."""
    text = (PIPELINES / name).read_text()
    if name == "Jenkinsfile":
        yield from re.findall(r"(?m)^\s*sh '([^'\n]*)'$", text)
        return
    said: Obj = yaml.safe_load(text)
    if name == "github/action.yml":
        for step in said["runs"]["steps"]:
            assert step["shell"] == "bash"
            yield step["run"]
        return
    jobs = [job for job in said.values() if isinstance(job, dict) and "script" in job]
    for stage in said["stages"]:
        for job in jobs:
            if job["stage"] == stage:
                yield from job["script"]


@pytest.mark.parametrize("name", NAMES)
def test_each_pipeline_checks_plans_releases_and_verifies(name: str) -> None:
    assert [line.split()[:2] for line in scripts(name)] == [["segue", verb] for verb in VERBS]


@pytest.mark.parametrize(("schema", "name"), [("gitlab-ci", "gitlab-ci.yml"), ("github-actions", "github/action.yml")])
def test_a_pipeline_is_what_the_schema_of_its_platform_says(schema: str, name: str, tmp_path: Path) -> None:
    """Their own schemas, as check-jsonschema brings them; one wrong word is found."""
    check = [str(BIN / "check-jsonschema"), "--builtin-schema", f"vendor.{schema}"]
    wrong = tmp_path / "wrong.yml"
    text = (PIPELINES / name).read_text()
    wrong.write_text(text.replace("script:", "scripts:") if "script:" in text else text.replace("using:", "use:"))

    assert subprocess.run([*check, str(PIPELINES / name)], capture_output=True, check=False).returncode == 0
    assert subprocess.run([*check, str(wrong)], capture_output=True, check=False).returncode == 1


def test_a_job_knows_its_stage_and_keeps_what_its_script_writes() -> None:
    said: Obj = yaml.safe_load((PIPELINES / "gitlab-ci.yml").read_text())

    for job in (job for job in said.values() if isinstance(job, dict) and "script" in job):
        assert job["stage"] in said["stages"]
        kept = str(job.get("artifacts", {}))
        for file in re.findall(r"(?:> |--(?:receipt|report|junit) )(\S+)", " ".join(job["script"])):
            assert file in kept


def test_the_jenkinsfile_closes_what_it_opens() -> None:
    text = re.sub(r"//.*|'[^']*'", "", (PIPELINES / "Jenkinsfile").read_text())

    assert text.count("{") == text.count("}")
    assert [word for word in ("pipeline {", "agent any", "stages {", "post {") if word not in text] == []


@pytest.mark.live
@pytest.mark.full
@pytest.mark.parametrize("name", NAMES)
def test_the_commands_of_a_pipeline_release_and_prove_it(name: str, place: Place, tmp_path: Path) -> None:
    objects = [web(2, lifecycle=sleeps(2)), door()]
    rollouts.ready(place, objects[0])
    place.create(objects[1])
    inner(objects)["image"] = inner(objects)["image"].replace(":v1", ":v2")
    manifest = tmp_path / "web.yaml"
    manifest.write_text(yaml.safe_dump_all(objects))
    env = {**place.env, "MANIFESTS": str(manifest), "PATH": f"{BIN}:{os.environ['PATH']}"}

    for line in scripts(name):
        done = subprocess.run(
            ["bash", "-euc", line], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=180, check=False
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"

    assert place.get("deployments", "web")["spec"]["template"]["spec"]["containers"][0]["image"].endswith(":v2")
    assert json.loads((tmp_path / "receipt.json").read_text())["end"] == "done"
    assert (tmp_path / "receipt.record.gz").exists()
    assert "<testsuite" in (tmp_path / "release.xml").read_text()
