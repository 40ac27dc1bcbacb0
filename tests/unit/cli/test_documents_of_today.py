"""plan and release read manifests of other times: what they work on, and what is said of it."""

from __future__ import annotations

from pathlib import Path

from segue.cli.documents import read_documents
from segue.cli.release import Wanted

CONFIG = Path(__file__).resolve().parents[3] / "examples" / "openshift" / "web.yaml"


def test_a_deployment_config_is_released_as_a_deployment_with_another_image() -> None:
    config, service = read_documents([str(CONFIG)], ["server=v2"])
    (container,) = config.obj["spec"]["template"]["spec"]["containers"]

    assert (config.kind, config.api_version, config.name) == ("Deployment", "apps/v1", "web")
    assert container["image"] == "host.org/images/grace:v2"
    assert (service.kind, service.became) == ("Service", ())


def test_each_field_that_does_not_map_is_said_with_its_line() -> None:
    wanted = Wanted.of("", [str(CONFIG)], [], "plan")

    assert wanted.became[0].startswith(f"{CONFIG}:12: DeploymentConfig web: spec.strategy.maxSurge: ")
    assert sum("not carried over" in said for said in wanted.became) == 2


def test_what_is_of_today_stays_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "web.yaml"
    file.write_text(CONFIG.read_text().partition("---\n")[2])
    (service,) = read_documents([str(file)], [])

    assert service.became == ()
    assert service.kind == "Service"
