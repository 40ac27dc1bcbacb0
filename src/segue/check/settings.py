"""What the rules are judged with: the numbers of the cluster and its clients, and what of them is known, not assumed.

Rule: a number that somebody measured or declared makes a finding certain; an assumed one makes it a warning at most.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from segue.model.objects import Obj

DEFAULTS: dict[str, float] = {
    "propagationSeconds": 5,  # X2: in the cluster, kube-proxy's own floor is about 1 s (K5)
    "loadBalancerPropagationSeconds": 15,  # X2: where a cloud load balancer sends to pods by their addresses
    "longestRequestSeconds": 10,
    "marginSeconds": 2,  # T8: the least time between the stop signal and SIGKILL
    "startSeconds": 30,
    "capacityRatio": 0.8,
    "nodeBudgetSeconds": 120,  # B9: what a spot node is given
    "healthCheckIntervalSeconds": 10,
    "healthCheckUnhealthyThreshold": 3,
    "loadBalancerIdleSeconds": 60,  # N11
    "dnsCacheSeconds": 30,
    "kubernetesMinor": 37,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The numbers, and which rules count how."""

    numbers: Mapping[str, float] = field(default_factory=lambda: dict(DEFAULTS))
    known: frozenset[str] = frozenset()  # said by a configuration file or the command line, so not assumed
    disabled: Mapping[str, str] = field(default_factory=dict)  # rule -> reason
    severities: Mapping[str, str] = field(default_factory=dict)
    namespace: str = ""
    pages: str = ""  # where the pages of the rules are served

    def number(self, name: str) -> float:
        """One of the numbers."""
        return self.numbers[name]

    @property
    def minor(self) -> int:
        """The Kubernetes minor version that manifests are meant for."""
        return int(self.numbers["kubernetesMinor"])


def settings_of(config: Obj, *, namespace: str = "") -> Settings:
    """A configuration file's mapping, already known to be well-formed (`problems_of`)."""
    said = {key: float(value) for key, value in config.items() if key in DEFAULTS}
    return Settings(
        numbers={**DEFAULTS, **said},
        known=frozenset(said),
        disabled=dict(config.get("disable") or {}),
        severities=dict(config.get("severity") or {}),
        namespace=namespace,
        pages=str(config.get("pagesUrl") or ""),
    )


def problems_of(config: Obj, rules: frozenset[str]) -> list[tuple[str, str]]:
    """What is wrong with a configuration: key and what to write instead."""
    found: list[tuple[str, str]] = []
    for key, value in config.items():
        if key in DEFAULTS:
            if not isinstance(value, int | float) or isinstance(value, bool) or value < 0:
                found.append((key, f"{key} is a number, for example {key}: {DEFAULTS[key]:g}"))
        elif key == "failOn":
            if value not in {"error", "warning", "info", "never"}:
                found.append((key, "failOn is error, warning, info or never"))
        elif key == "pagesUrl":
            if not isinstance(value, str) or not value.startswith(("https://", "http://", "file://")):
                found.append((key, "pagesUrl is an address, for example pagesUrl: https://HOST/rules"))
        elif key in {"disable", "severity"}:
            found.extend(_problems_by_rule(key, value, rules))
        else:
            known = ", ".join([*DEFAULTS, "failOn", "disable", "severity", "pagesUrl"])
            found.append((key, f"{key} is no setting; there are {known}"))
    return found


def _problems_by_rule(key: str, value: object, rules: frozenset[str]) -> list[tuple[str, str]]:
    example = "ZD407: one node only" if key == "disable" else "ZD405: error"
    if not isinstance(value, dict):
        return [(key, f"{key} is a mapping of rules, for example {{{example}}}")]
    found = []
    for rule, said in value.items():
        if rule not in rules:
            found.append((key, f"there is no rule {rule}; segue check --list-rules shows all"))
        elif key == "disable" and (not isinstance(said, str) or not said.strip()):
            found.append((key, f"a rule is disabled with its reason, for example {example}"))
        elif key == "severity" and said not in {"error", "warning", "info"}:
            found.append((key, f"the severity of {rule} is error, warning or info"))
    return found
