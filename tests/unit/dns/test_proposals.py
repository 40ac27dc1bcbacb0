"""What `segue dns plan --write` writes, held against promtool where it is installed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from segue.cli.main import run
from segue.dns.corefile import parsed
from segue.dns.proposals import alerts, node_local_corefile

COREFILE = ".:53 {\n errors\n health {\n lameduck 12s\n }\n ready\n kubernetes cluster.local\n prometheus\n}\n"
FIRES = """
rule_files: [alerts.yaml]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - series: 'coredns_health_request_duration_seconds_bucket{instance="a", le="0.25"}'
        values: '0x30'
      - series: 'coredns_health_request_duration_seconds_bucket{instance="a", le="1"}'
        values: '0+60x30'
      - series: 'coredns_health_request_duration_seconds_bucket{instance="a", le="+Inf"}'
        values: '0+60x30'
      - series: 'coredns_health_request_duration_seconds_bucket{instance="b", le="0.25"}'
        values: '0+60x30'
      - series: 'coredns_health_request_duration_seconds_bucket{instance="b", le="+Inf"}'
        values: '0+60x30'
    alert_rule_test:
      - eval_time: 20m
        alertname: CoreDNSIsSlowAtItself
        exp_alerts:
          - exp_labels: {severity: warning, instance: a}
            exp_annotations:
              summary: "CoreDNS: its own /health takes more than 250 ms: it has no CPU left"
"""


def written(tmp_path: Path) -> Path:
    file = tmp_path / "Corefile"
    file.write_text(COREFILE)
    folder = tmp_path / "dns"
    argv = ["dns", "plan", str(file), "--pods", "100", "--services", "10", "--write", str(folder)]
    assert run(argv) == 0
    return folder


def promtool(what: str, file: Path) -> str:
    done = subprocess.run(["promtool", what, "rules", file], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_each_file_is_whole(tmp_path: Path) -> None:
    folder = written(tmp_path)
    kinds = {
        file.name: [one.get("kind") for one in yaml.safe_load_all(file.read_text())] for file in folder.glob("*.yaml")
    }

    assert kinds == {
        "alerts.yaml": [None],
        "autoscaler-by-cpu.yaml": ["HorizontalPodAutoscaler"],
        "autoscaler-by-size.yaml": ["ConfigMap"],
        "node-local.yaml": ["ServiceAccount", "Service", "ConfigMap", "DaemonSet"],
    }


def test_the_cache_on_a_node_serves_both_zones_at_both_addresses() -> None:
    cluster, rest = parsed(node_local_corefile("10.96.0.10", "cluster.local"))

    assert cluster.zones[0] == "cluster.local"
    assert rest.zones == (".",)
    for block in (cluster, rest):
        bind, cache = block.plugin("bind"), block.plugin("cache")
        assert bind is not None
        assert bind.args == ("169.254.20.10", "10.96.0.10")
        assert cache is not None
        assert cache.option("prefetch") == ("2", "1m", "20%")


@pytest.mark.skipif(not shutil.which("promtool"), reason="no promtool (Debian: apt-get install prometheus)")
def test_prometheus_takes_the_alerts_and_one_fires(tmp_path: Path) -> None:
    folder = written(tmp_path)
    (folder / "tests.yaml").write_text(FIRES)
    checked = promtool("check", folder / "alerts.yaml")
    fired = promtool("test", folder / "tests.yaml")

    assert f"{len(alerts()['groups'][0]['rules'])} rules found" in checked
    assert "SUCCESS" in fired
