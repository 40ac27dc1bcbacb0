"""What a pod's spec must hold, in a Pod or in a template. Reads one spec; knows no other object."""

from __future__ import annotations

import re

from segue.cluster.refusals import Cause, forbidden_field, invalid_value, required, unsupported
from segue.cluster.validation.metadata import dns_label_causes, duplicates
from segue.cluster.validation.pod_dns import pod_dns_causes
from segue.model.objects import Obj

_PORT_RANGE = "must be between 1 and 65535, inclusive"
_NOT_NEGATIVE = "must be greater than or equal to 0"
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_PROBE_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc")
_HOOK_HANDLERS = ("exec", "httpGet", "sleep", "tcpSocket")
_DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
_PLAIN_INT = re.compile("0|-?[1-9][0-9]*")
_PORT_NAME = re.compile("[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_MUTABLE_HINT = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)


def pod_causes(pod: Obj) -> list[Cause]:
    """What is off in a Pod."""
    causes = deletion_cost_causes(pod["metadata"], "metadata")
    return causes + pod_spec_causes(pod.get("spec") or {}, "spec")


def deletion_cost_causes(metadata: Obj, path: str) -> list[Cause]:
    """A pod's deletion cost is an int32 in its plain form, else nobody would heed it (R4)."""
    text = (metadata.get("annotations") or {}).get(_DELETION_COST)
    if text is None or (_PLAIN_INT.fullmatch(text) and -(2**31) <= int(text) < 2**31):
        return []
    return [invalid_value(f"{path}.annotations[{_DELETION_COST}]", text, "must be a 32bit integer")]


def pod_update_causes(pod: Obj, before: Obj) -> list[Cause]:
    """A pod's spec stands, except for images, activeDeadlineSeconds and added tolerations."""
    if _frozen_part(pod["spec"]) != _frozen_part(before["spec"]):
        return [forbidden_field("spec", _MUTABLE_HINT)]
    causes: list[Cause] = []
    old, new = before["spec"].get("activeDeadlineSeconds"), pod["spec"].get("activeDeadlineSeconds")
    if old is not None and (new is None or new > old):
        detail = (
            "must be less than or equal to previous value"
            if new is not None
            else "must not update from a positive integer to nil value"
        )
        causes.append(invalid_value("spec.activeDeadlineSeconds", new, detail))
    return causes


def _frozen_part(spec: Obj) -> Obj:
    frozen = {key: value for key, value in spec.items() if key not in {"activeDeadlineSeconds", "tolerations"}}
    for key in ("containers", "initContainers"):
        if key in frozen:
            frozen[key] = [
                {name: value for name, value in container.items() if name != "image"} for container in frozen[key] or []
            ]
    return frozen


def pod_spec_causes(spec: Obj, path: str) -> list[Cause]:
    """What is off in a PodSpec at `path`."""
    containers: list[Obj] = spec.get("containers") or []
    causes: list[Cause] = [] if containers else [required(f"{path}.containers")]
    volumes = {volume.get("name", "") for volume in spec.get("volumes") or []}
    for key in ("initContainers", "containers"):
        for index, container in enumerate(spec.get(key) or []):
            causes += _container_causes(container, spec, f"{path}.{key}[{index}]", volumes)
    names = [one.get("name") or "" for one in containers]
    causes += duplicates([name for name in names if name], f"{path}.containers", "name")
    causes += _volume_causes(spec, path)
    causes += _number_causes(spec, path)
    if spec.get("restartPolicy") not in {None, "Always", "OnFailure", "Never"}:
        causes.append(unsupported(f"{path}.restartPolicy", spec["restartPolicy"], ["Always", "OnFailure", "Never"]))
    return causes + pod_dns_causes(spec, path)


def lasting_pod_causes(spec: Obj, path: str, owner: str) -> list[Cause]:
    """What pods that are to run for ever may not ask for; `owner` is the kind that keeps them."""
    causes: list[Cause] = []
    if spec.get("restartPolicy") in {"OnFailure", "Never"}:
        causes.append(unsupported(f"{path}.restartPolicy", spec["restartPolicy"], ["Always"]))
    if spec.get("activeDeadlineSeconds") is not None:
        detail = f"activeDeadlineSeconds in {owner} is not Supported"
        causes.append(forbidden_field(f"{path}.activeDeadlineSeconds", detail))
    return causes


def _number_causes(spec: Obj, path: str) -> list[Cause]:
    causes: list[Cause] = []
    grace = spec.get("terminationGracePeriodSeconds")
    if grace is not None and grace < 0:
        causes.append(invalid_value(f"{path}.terminationGracePeriodSeconds", grace, _NOT_NEGATIVE))
    deadline = spec.get("activeDeadlineSeconds")
    if deadline is not None and not 1 <= deadline <= 2147483647:
        detail = "must be between 1 and 2147483647, inclusive"
        causes.append(invalid_value(f"{path}.activeDeadlineSeconds", deadline, detail))
    return causes


def _volume_causes(spec: Obj, path: str) -> list[Cause]:
    causes: list[Cause] = []
    names = [volume.get("name") or "" for volume in spec.get("volumes") or []]
    for index, name in enumerate(names):
        where = f"{path}.volumes[{index}].name"
        causes += dns_label_causes(name, where) if name else [required(where)]
    return causes + duplicates(names, f"{path}.volumes", "name")


def _container_causes(container: Obj, spec: Obj, path: str, volumes: set[str]) -> list[Cause]:
    causes: list[Cause] = []
    name: str = container.get("name") or ""
    causes += dns_label_causes(name, f"{path}.name") if name else [required(f"{path}.name")]
    if not container.get("image"):
        causes.append(required(f"{path}.image"))
    elif container["image"] != container["image"].strip():
        causes.append(
            invalid_value(f"{path}.image", container["image"], "must not have leading or trailing whitespace")
        )
    if container.get("imagePullPolicy") not in {None, "Always", "IfNotPresent", "Never"}:
        supported = ["Always", "IfNotPresent", "Never"]
        causes.append(unsupported(f"{path}.imagePullPolicy", container["imagePullPolicy"], supported))
    causes += _port_causes(container, path)
    for index, mount in enumerate(container.get("volumeMounts") or []):
        where = f"{path}.volumeMounts[{index}]"
        if mount.get("name") not in volumes:
            message = f'Not found: "{mount.get("name", "")}"'
            causes.append(Cause(reason="FieldValueNotFound", field=f"{where}.name", message=message))
        if not mount.get("mountPath"):
            causes.append(required(f"{where}.mountPath"))
    for index, variable in enumerate(container.get("env") or []):
        if not variable.get("name"):
            causes.append(required(f"{path}.env[{index}].name"))
        elif variable.get("value") and variable.get("valueFrom"):
            detail = "may not be specified when `value` is not empty"
            causes.append(invalid_value(f"{path}.env[{index}].valueFrom", "", detail))
    for key in _PROBES:
        if container.get(key) is not None:
            causes += _probe_causes(key, container[key], f"{path}.{key}")
    return causes + _lifecycle_causes(container.get("lifecycle") or {}, spec, f"{path}.lifecycle")


def _port_causes(container: Obj, path: str) -> list[Cause]:
    causes: list[Cause] = []
    ports = container.get("ports") or []
    for index, port in enumerate(ports):
        where = f"{path}.ports[{index}]"
        number = port.get("containerPort")
        if not number:
            causes.append(required(f"{where}.containerPort"))
        elif not 1 <= number <= 65535:
            causes.append(invalid_value(f"{where}.containerPort", number, _PORT_RANGE))
        if port.get("hostPort") and not 1 <= port["hostPort"] <= 65535:
            causes.append(invalid_value(f"{where}.hostPort", port["hostPort"], _PORT_RANGE))
        if port.get("protocol") not in {None, "TCP", "UDP", "SCTP"}:
            causes.append(unsupported(f"{where}.protocol", port["protocol"], ["SCTP", "TCP", "UDP"]))
        if port.get("name"):
            causes += _port_name_causes(port["name"], f"{where}.name")
    names = [port.get("name") or "" for port in ports]
    return causes + [cause for cause in duplicates(names, f"{path}.ports", "name") if '""' not in cause.message]


def _port_name_causes(name: str, where: str) -> list[Cause]:
    causes: list[Cause] = []
    if len(name) > 15:
        causes.append(invalid_value(where, name, "must be no more than 15 characters"))
    if not _PORT_NAME.fullmatch(name):
        causes.append(
            invalid_value(where, name, "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
        )
    elif not any(letter.isalpha() for letter in name):
        causes.append(invalid_value(where, name, "must contain at least one letter (a-z)"))
    return causes


def _probe_causes(key: str, probe: Obj, path: str) -> list[Cause]:
    causes = _handler_causes(probe, path, _PROBE_HANDLERS)
    for field in ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"):
        value = probe.get(field)
        if value is not None and value < 0:
            causes.append(invalid_value(f"{path}.{field}", value, _NOT_NEGATIVE))
    if key != "readinessProbe" and probe.get("successThreshold", 1) != 1:  # P1
        causes.append(invalid_value(f"{path}.successThreshold", probe["successThreshold"], "must be 1"))
    grace = probe.get("terminationGracePeriodSeconds")
    if grace is not None and key == "readinessProbe":  # T17
        detail = "must not be set for readinessProbes"
        causes.append(invalid_value(f"{path}.terminationGracePeriodSeconds", grace, detail))
    elif grace is not None and grace <= 0:
        causes.append(invalid_value(f"{path}.terminationGracePeriodSeconds", grace, "must be greater than 0"))
    return causes


def _lifecycle_causes(lifecycle: Obj, spec: Obj, path: str) -> list[Cause]:
    causes: list[Cause] = []
    for hook in ("postStart", "preStop"):
        handler = lifecycle.get(hook)
        if handler is None:
            continue
        causes += _handler_causes(handler, f"{path}.{hook}", _HOOK_HANDLERS)
        if isinstance(handler.get("sleep"), dict):
            seconds = handler["sleep"].get("seconds", 0)
            grace = spec.get("terminationGracePeriodSeconds", 30)
            if not 0 <= seconds <= grace:  # T11
                detail = f"must be non-negative and less than terminationGracePeriodSeconds ({grace})"
                causes.append(invalid_value(f"{path}.{hook}.sleep", seconds, detail))
    return causes


def _handler_causes(handler: Obj, path: str, kinds: tuple[str, ...]) -> list[Cause]:
    given = [kind for kind in kinds if handler.get(kind) is not None]
    if not given:
        return [required(path, "must specify a handler type")]
    causes = [forbidden_field(f"{path}.{kind}", "may not specify more than 1 handler type") for kind in given[1:]]
    for kind in ("httpGet", "tcpSocket", "grpc"):
        if kind in given:
            causes += _handler_port_causes(handler[kind].get("port"), f"{path}.{kind}.port")
    if "exec" in given and not handler["exec"].get("command"):
        causes.append(required(f"{path}.exec.command"))
    if "httpGet" in given and handler["httpGet"].get("scheme") not in {None, "HTTP", "HTTPS"}:
        causes.append(unsupported(f"{path}.httpGet.scheme", handler["httpGet"]["scheme"], ["HTTP", "HTTPS"]))
    return causes


def _handler_port_causes(port: object, path: str) -> list[Cause]:
    match port:
        case None:
            return [invalid_value(path, 0, _PORT_RANGE)]
        case int():
            return [] if 1 <= port <= 65535 else [invalid_value(path, port, _PORT_RANGE)]
        case str():
            return _port_name_causes(port, path)
        case _:
            return [invalid_value(path, port, _PORT_RANGE)]
