"""`segue check` and `segue fix` as commands: what they print, what they answer, what they leave alone."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from tools.make_rules import PAIRS

from segue.check.rulebook import RULES
from segue.cli.main import run
from segue.model.objects import Obj

GOLDEN = PAIRS.parent
BAD = PAIRS / "ZD101" / "bad.yaml"
WARNED = PAIRS / "ZD405" / "bad.yaml"
INFORMED = PAIRS / "ZD309" / "bad.yaml"
BEFORE = PAIRS / "ZD307"


def as_json(capsys: pytest.CaptureFixture[str], *argv: str, code: int) -> Obj:
    assert run([*argv, "-o", "json"]) == code
    found: Obj = json.loads(capsys.readouterr().out)
    return found


@pytest.mark.parametrize(
    ("file", "options", "code"),
    [
        (GOLDEN / "well-made.yaml", [], 0),
        (BAD, [], 11),
        (BAD, ["--fail-on", "never"], 0),
        (WARNED, [], 0),
        (WARNED, ["--fail-on", "warning"], 12),
        (INFORMED, ["--fail-on", "warning"], 0),
        (INFORMED, ["--fail-on", "info"], 13),
        (GOLDEN / "nowhere.yaml", [], 3),
    ],
    ids=lambda value: getattr(value, "stem", None),
)
def test_the_exit_code_says_how_bad_it_is(file: Path, options: list[str], code: int) -> None:
    assert run(["check", str(file), *options]) == code


def test_a_finding_says_where_what_why_and_what_instead(capsys: pytest.CaptureFixture[str]) -> None:
    run(["check", str(BAD)])
    said = capsys.readouterr().out

    assert f"{BAD}:29: error ZD101 no-drain-delay  Deployment web" in said
    assert "instead: add lifecycle.preStop.sleep.seconds: 5  (segue fix does that)" in " ".join(said.split("\n    "))
    assert "docs/reference/rules/ZD101.md" in said
    assert "\033" not in said
    assert said.endswith("3 objects: 1 error; segue fix repairs 1 of them\n")


def test_what_is_read_twice_is_judged_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.yaml", "b.yaml"):
        shutil.copy(GOLDEN / "well-made.yaml", tmp_path / name)

    assert run(["check", str(tmp_path)]) == 0
    assert "stands in" in capsys.readouterr().err


def test_a_chart_is_named_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chart = tmp_path / "chart"
    (chart / "templates").mkdir(parents=True)
    (chart / "Chart.yaml").write_text("apiVersion: v2\nname: web\n")
    (chart / "templates" / "web.yaml").write_text("kind: {{ .Values.kind }}\n")
    shutil.copy(BAD, tmp_path / "bad.yaml")

    found = as_json(capsys, "check", str(tmp_path), code=3)

    assert [one["message"] for one in found["errors"]] == ["a Helm chart: its templates are no manifests yet"]
    assert [one["rule"] for one in found["findings"]] == ["ZD101"]


def test_an_ignore_needs_its_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "x.yaml"
    mark = "metadata:\n  name: web\n  annotations:\n    segue.dev/ignore-ZD101: {}\n"
    for said, code in (("drained by its operator", 0), ('""', 11), ("7", 11)):
        file.write_text(BAD.read_text().replace("metadata:\n  name: web\n", mark.format(said), 1))

        found = as_json(capsys, "check", str(file), code=code)

        assert [one["reason"] for one in found["ignored"]] == ([] if code else [said])
        assert ("ZD603" in {one["rule"] for one in found["findings"]}) == bool(code)


def test_settings_are_read_and_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "segue.yaml"
    config.write_text("check:\n  failOn: warning\n  severity:\n    ZD101: info\n")
    assert run(["check", str(BAD), "--config", str(config)]) == 0
    config.write_text("check:\n  disable:\n    ZD101: everything here drains by itself\n")
    assert run(["check", str(BAD), "--config", str(config)]) == 0
    for wrong, said in (
        ("disable: {ZD101: ''}", "a rule is disabled with its reason"),
        ("disable: {ZD999: x}", "there is no rule ZD999"),
        ("propagationSeconds: soon", "propagationSeconds is a number"),
        ("propagation: 5", "propagation is no setting"),
        ("failOn: sometimes", "failOn is error, warning, info or never"),
    ):
        config.write_text(f"check:\n  {wrong}\n")
        capsys.readouterr()
        assert run(["check", str(BAD), "--config", str(config)]) == 3
        assert said in capsys.readouterr().err


def test_a_known_propagation_makes_a_warning_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, config = tmp_path / "x.yaml", tmp_path / "segue.yaml"
    file.write_text((GOLDEN / "well-made.yaml").read_text().replace("seconds: 5\n", "seconds: 3\n", 1))
    config.write_text("check:\n  propagationSeconds: 4.2\n")

    (assumed,) = as_json(capsys, "check", str(file), code=0)["findings"]
    (measured,) = as_json(capsys, "check", str(file), "--config", str(config), code=11)["findings"]

    assert (assumed["rule"], assumed["severity"], assumed["numbers"]) == ("ZD102", "warning", {"S": 3, "P": 5})
    assert (measured["rule"], measured["severity"], measured["numbers"]) == ("ZD102", "error", {"S": 3, "P": 4.2})


def test_what_ran_before_shows_what_the_change_breaks(capsys: pytest.CaptureFixture[str]) -> None:
    new, old = str(BEFORE / "bad.yaml"), str(BEFORE / "before.yaml")

    assert as_json(capsys, "check", new, code=0)["findings"] == []
    (found,) = as_json(capsys, "check", new, "--before", old, code=11)["findings"]
    assert found["rule"] == "ZD307"


def test_sarif_has_what_its_readers_need(capsys: pytest.CaptureFixture[str]) -> None:
    run(["check", str(BAD), "-o", "sarif"])
    sarif = json.loads(capsys.readouterr().out)

    (one,) = sarif["runs"]
    (result,) = one["results"]
    assert sarif["version"] == "2.1.0"
    assert [rule["id"] for rule in one["tool"]["driver"]["rules"]] == list(RULES)
    assert one["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"] == "ZD101"
    place = result["locations"][0]["physicalLocation"]
    assert place == {"artifactLocation": {"uri": str(BAD)}, "region": {"startLine": 29}}
    assert result["level"] == "error"


def test_github_annotations_are_one_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    run(["check", str(BAD), str(GOLDEN / "nowhere.yaml"), "-o", "github"])
    first, second = capsys.readouterr().out.splitlines()

    assert first.startswith(f"::error file={BAD},line=29,title=ZD101 no-drain-delay::Deployment web: container app")
    assert "%0AInstead: add lifecycle" in first
    assert second == f"::error file={GOLDEN / 'nowhere.yaml'},title=cannot be read::no such file"


def test_gitlab_fingerprints_are_their_own_and_stay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "x.yaml"
    rows = []
    for head in ("", "# a line more\n"):
        file.write_text(head + (PAIRS / "ZD208" / "bad.yaml").read_text())
        run(["check", str(file), "-o", "gitlab"])
        rows.append(json.loads(capsys.readouterr().out))

    before, after = rows
    assert [one["fingerprint"] for one in before] == [one["fingerprint"] for one in after]
    assert len({one["fingerprint"] for one in before}) == len(before) > 1
    assert {one["severity"] for one in before} <= {"info", "minor", "major", "critical", "blocker"}
    assert [one["location"]["lines"]["begin"] + 1 for one in before] == [
        one["location"]["lines"]["begin"] for one in after
    ]


@pytest.mark.parametrize("rule", ["ZD101", "no-drain-delay"])
def test_a_rule_is_explained(rule: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", "--explain", rule]) == 0
    assert "ZD101 no-drain-delay" in capsys.readouterr().out
    assert run(["check", "--explain", "ZD999"]) == 2


def test_all_rules_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    rows = json.loads(_said(capsys, "check", "--list-rules", "-o", "json"))

    assert [row["rule"] for row in rows] == list(RULES)
    assert len(_said(capsys, "check", "--list-rules").splitlines()) == len(RULES) + 1


def _said(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    assert run(argv) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("argv", [["check"], ["check", "x.yaml", "--live"], ["fix"]])
def test_it_must_be_said_what_is_meant(argv: list[str]) -> None:
    assert run(argv) == 2


# -- fix ---------------------------------------------------------------------------------------------------------------


def test_fix_changes_nothing_without_being_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "x.yaml"
    shutil.copy(BAD, file)

    assert run(["fix", str(file)]) == 0
    assert "\n+              sleep:\n" in capsys.readouterr().out
    assert file.read_text() == BAD.read_text()


def test_fix_keeps_marks_line_ends_comments_and_mode(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    text = "\ufeff" + BAD.read_text().replace("image:", "image:  ", 1).replace("\n", "  # ü\r\n", 1)
    file.write_bytes(text.replace("\r\n", "\n").replace("\n", "\r\n").encode())
    file.chmod(0o640)
    before = file.read_bytes().splitlines(keepends=True)

    assert run(["fix", "--write", str(file)]) == 0

    after = file.read_bytes().splitlines(keepends=True)
    added = [line for line in after if line not in before]
    assert [line for line in after if line not in added] == before
    assert all(line.endswith(b"\r\n") for line in after)
    assert file.stat().st_mode & 0o777 == 0o640
    assert run(["check", "--fail-on", "info", str(file)]) == 0


def test_fix_stands_between_a_renderer_and_the_cluster(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stdin = io.TextIOWrapper(io.BytesIO(BAD.read_bytes()))
    monkeypatch.setattr(sys, "stdin", stdin)

    assert run(["fix", "--write", "-"]) == 0
    said = capsys.readouterr().out

    assert "preStop:" in said
    assert [line for line in BAD.read_text().splitlines() if line not in said.splitlines()] == []


def test_patches_are_for_machines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "x.yaml"
    shutil.copy(PAIRS / "ZD402" / "bad.yaml", file)
    found = as_json(capsys, "fix", str(file), code=0)
    assert found["patches"] == []
    assert ["kubectl apply edit-last-applied" in one["question"] for one in found["questions"]] == [True]

    shutil.copy(WARNED, file)
    (patch,) = as_json(capsys, "fix", str(file), code=0)["patches"]
    assert (patch["kind"], patch["new"]["spec"]["maxUnavailable"]) == ("PodDisruptionBudget", 1)
    assert file.read_text() == WARNED.read_text()


def test_a_json_file_is_repaired_as_json(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    from segue.check.gathering import Gathered  # noqa: PLC0415 - only here

    gathered = Gathered()
    gathered.add(BAD.read_text(), file="")
    whole = {"apiVersion": "v1", "kind": "List", "items": [one.obj for one in gathered.sources]}
    file.write_text(json.dumps(whole, indent=2))

    assert run(["fix", "--write", str(file)]) == 0

    items = json.loads(file.read_text())["items"]
    (container,) = items[0]["spec"]["template"]["spec"]["containers"]
    assert container["lifecycle"] == {"preStop": {"sleep": {"seconds": 5}}}


# -- doors of others ---------------------------------------------------------------------------------------------------


def test_pre_commit_takes_the_hooks() -> None:
    hooks = GOLDEN.parents[1] / ".pre-commit-hooks.yaml"
    tool = Path(sys.executable).parent / "pre-commit"

    done = subprocess.run([tool, "validate-manifest", hooks], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout


def test_kubectl_finds_its_plugin(tmp_path: Path) -> None:
    """kubectl runs what is called kubectl-NAME; the installed script calls the same function as `segue`."""
    project = tomllib.loads((GOLDEN.parents[1] / "pyproject.toml").read_text())["project"]
    assert project["scripts"]["kubectl-segue"] == project["scripts"]["segue"]
    plugin = tmp_path / "kubectl-segue"
    plugin.write_text(f"#!{sys.executable}\nfrom segue.cli.main import main\nmain()\n")
    plugin.chmod(0o755)
    env = {**os.environ, "PATH": f"{tmp_path}:{Path(sys.executable).parent}:{os.environ['PATH']}"}

    done = subprocess.run(
        ["kubectl", "segue", "check", str(BAD), "-o", "github"], env=env, capture_output=True, text=True, check=False
    )

    assert done.returncode == 11, done.stderr
    assert "ZD101" in done.stdout
