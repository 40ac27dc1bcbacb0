"""A Deployment may be named as kubectl names it."""

from __future__ import annotations

import pytest

from segue.cli.main import run


@pytest.mark.parametrize("said", ["web", "deployment/web", "deploy/web", "deployments.apps/web", "Deployment/web"])
@pytest.mark.parametrize("words", [["status"], ["undo"], ["abort"], ["history"]])
def test_kubectls_spelling_means_the_same(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It gets as far as looking for a cluster, which is the next thing that is wrong here."""
    code = run([*words, said, "--kubeconfig", "/nowhere"])

    assert "/nowhere" in capsys.readouterr().err
    assert code != 2


@pytest.mark.parametrize("said", ["pod/web", "deployment/", "service/web"])
def test_another_kind_is_a_mistake(said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["undo", said]) == 2
    assert f"{said} is no Deployment" in capsys.readouterr().err
