"""What a container's process gets: its argument list and its environment, from the pod, ConfigMaps and Secrets.

Pure: objects are looked up through a function that is given. A reference that leads nowhere and is not optional raises
`ConfigError`, which becomes the waiting reason CreateContainerConfigError.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from segue.model.objects import Obj, Ref, annotations_of, labels_of, name_of, namespace_of, uid_of

Lookup: TypeAlias = Callable[[Ref], Obj | None]

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_EXPANSION = re.compile(r"\$(\$|\(([^()]*)\))")


class ConfigError(Exception):
    """A container that cannot be made as its spec says; the message is the one a kubelet writes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What the downward API knows of where the pod is; `api` are variables that say where the API server is."""

    ip: str
    node_name: str
    node_ip: str
    api: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What to run: `argv` may be empty where neither pod nor image map names a program."""

    argv: tuple[str, ...]
    env: dict[str, str]
    cwd: str


def command_of(
    pod: Obj,
    container: Obj,
    image: tuple[tuple[str, ...], tuple[str, ...], Mapping[str, str]],
    place: Place,
    lookup: Lookup,
) -> Command:
    """Argument list and environment of a container; `image` is its entrypoint, default arguments and environment."""
    entrypoint, default_args, image_env = image
    declared = _declared(pod, container, place, lookup)
    env = {"PATH": DEFAULT_PATH, "HOME": "/root", "HOSTNAME": name_of(pod), **image_env, **declared}
    command, args = container.get("command"), container.get("args")
    if command:  # Docker's rule: a command replaces entrypoint and default arguments, args replace the arguments only
        entrypoint, default_args = tuple(command), ()
    argv = [*entrypoint, *(default_args if args is None else args)]
    return Command(
        argv=tuple(expanded(str(part), declared) for part in argv), env=env, cwd=str(container.get("workingDir") or "/")
    )


def expanded(text: str, env: Mapping[str, str]) -> str:
    """`$(NAME)` replaced where the name is known, `$$` is a dollar sign."""

    def replacement(match: re.Match[str]) -> str:
        if match[1] == "$":
            return "$"
        return env.get(match[2], match[0])

    return _EXPANSION.sub(replacement, text)


def _declared(pod: Obj, container: Obj, place: Place, lookup: Lookup) -> dict[str, str]:
    env = dict(place.api)  # what the spec says comes over it, and may use it
    for source in container.get("envFrom") or []:
        prefix = str(source.get("prefix") or "")
        for kind in ("configMap", "secret"):
            if reference := source.get(f"{kind}Ref"):
                data = _data(kind, namespace_of(pod), reference, lookup)
                env.update({prefix + key: value.decode(errors="replace") for key, value in data.items()})
    for entry in container.get("env") or []:
        if entry.get("valueFrom"):
            value = _from(pod, container, entry["valueFrom"], place, lookup)
            if value is not None:
                env[entry["name"]] = value
        else:
            env[entry["name"]] = expanded(str(entry.get("value") or ""), env)
    return env


def _from(pod: Obj, container: Obj, source: Obj, place: Place, lookup: Lookup) -> str | None:
    if reference := source.get("fieldRef"):
        return field_of(pod, str(reference["fieldPath"]), place)
    if reference := source.get("resourceFieldRef"):
        return _resource(container, str(reference["resource"]))
    for kind in ("configMap", "secret"):
        if reference := source.get(f"{kind}KeyRef"):
            data = _data(kind, namespace_of(pod), reference, lookup)
            if reference["key"] in data:
                return data[reference["key"]].decode(errors="replace")
            if not reference.get("optional"):
                name = f"{namespace_of(pod)}/{reference.get('name')}"
                raise ConfigError(f"couldn't find key {reference['key']} in {_title(kind)} {name}")
    return None


def field_of(pod: Obj, path: str, place: Place) -> str:
    """A field of the downward API."""
    match = re.fullmatch(r"metadata\.(labels|annotations)\['(.+)'\]", path)
    if match:
        return (labels_of(pod) if match[1] == "labels" else annotations_of(pod)).get(match[2], "")
    known = {
        "metadata.name": name_of(pod),
        "metadata.namespace": namespace_of(pod),
        "metadata.uid": uid_of(pod),
        "metadata.labels": _lines(labels_of(pod)),
        "metadata.annotations": _lines(annotations_of(pod)),
        "spec.nodeName": place.node_name,
        "spec.serviceAccountName": str(pod["spec"].get("serviceAccountName") or "default"),
        "status.hostIP": place.node_ip,
        "status.hostIPs": place.node_ip,
        "status.podIP": place.ip,
        "status.podIPs": place.ip,
    }
    if path not in known:
        raise ConfigError(f"unsupported fieldPath: {path}")
    return known[path]


def _lines(values: Mapping[str, str]) -> str:
    return "\n".join(f'{key}="{value}"' for key, value in sorted(values.items()))


def _resource(container: Obj, path: str) -> str:
    kind, _, name = path.partition(".")
    return str(((container.get("resources") or {}).get(kind) or {}).get(name, "0"))


def data_of(kind: str, obj: Obj) -> dict[str, bytes]:
    """The keys of a ConfigMap ("configMap") or Secret ("secret")."""
    plain, encoded = ("stringData", "data") if kind == "secret" else ("data", "binaryData")
    data = {key: str(value).encode() for key, value in (obj.get(plain) or {}).items()}
    try:
        data.update({key: b64decode(value) for key, value in (obj.get(encoded) or {}).items()})
    except ValueError as error:
        raise ConfigError(f'{kind.lower()} "{name_of(obj)}" is not base64: {error}') from error
    return data


def _data(kind: str, namespace: str, reference: Obj, lookup: Lookup) -> dict[str, bytes]:
    name = str(reference.get("name") or "")
    obj = lookup(Ref(resource="secrets" if kind == "secret" else "configmaps", namespace=namespace, name=name))
    if obj is not None:
        return data_of(kind, obj)
    if reference.get("optional"):
        return {}
    raise ConfigError(f'{kind.lower()} "{name}" not found')


def _title(kind: str) -> str:
    return "Secret" if kind == "secret" else "ConfigMap"
