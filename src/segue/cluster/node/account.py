"""What a pod knows of the API server: where it is, and a token of the pod's own service account. Pure.

A kubelet gives both to every container: variables for the Service `kubernetes`, and three files below `MOUNT`, unless
pod or account say `automountServiceAccountToken: false` or the container mounts something else there.

Rule: where the Service leads nowhere (loopback mode) a pod is told nothing. Here the files are no volume of the pod's
spec, and the token lasts for a year, so that nobody has to renew it; it ends with the pod.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from segue.cluster.bootstrap import API_SERVICE
from segue.cluster.node.environment import Lookup
from segue.cluster.node.volumes import VolumeFile
from segue.model.objects import Obj, Ref, name_of, namespace_of, uid_of

MOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
TOKEN_S = 365 * 86_400
_MODE = 0o644
_AUTOMOUNT = "automountServiceAccountToken"


@dataclass(frozen=True, slots=True, kw_only=True)
class Accounts:
    """The cluster's authority as PEM, and who issues tokens: of an account, for a TokenRequest."""

    ca: str
    issue: Callable[[Obj, Obj], Obj]


def api_env(lookup: Lookup) -> dict[str, str]:
    """The variables that say where the API server is."""
    service = lookup(API_SERVICE)
    slices = Ref(resource="endpointslices.discovery.k8s.io", namespace=API_SERVICE.namespace, name=API_SERVICE.name)
    if service is None or lookup(slices) is None:
        return {}
    host, port = str(service["spec"]["clusterIP"]), str(service["spec"]["ports"][0]["port"])
    url = f"tcp://{host}:{port}"
    return {
        "KUBERNETES_SERVICE_HOST": host,
        "KUBERNETES_SERVICE_PORT": port,
        "KUBERNETES_SERVICE_PORT_HTTPS": port,
        "KUBERNETES_PORT": url,
        f"KUBERNETES_PORT_{port}_TCP": url,
        f"KUBERNETES_PORT_{port}_TCP_PROTO": "tcp",
        f"KUBERNETES_PORT_{port}_TCP_PORT": port,
        f"KUBERNETES_PORT_{port}_TCP_ADDR": host,
    }


def account_of(pod: Obj, lookup: Lookup) -> Obj | None:
    """The account whose token the pod is to have, None for none."""
    name = str(pod["spec"].get("serviceAccountName") or "default")
    account = lookup(Ref(resource="serviceaccounts", namespace=namespace_of(pod), name=name))
    said = pod["spec"].get(_AUTOMOUNT)
    wanted = said if said is not None else (account or {}).get(_AUTOMOUNT)
    return account if wanted is not False else None


def is_mounted(container: Obj) -> bool:
    """Whether the container has something of its own where the files would be."""
    return any(str(one["mountPath"]).rstrip("/") == MOUNT for one in container.get("volumeMounts") or [])


def files_for(pod: Obj, account: Obj, accounts: Accounts) -> tuple[VolumeFile, ...]:
    """The account's files."""
    bound = {"kind": "Pod", "apiVersion": "v1", "name": name_of(pod), "uid": uid_of(pod)}
    request: Obj = {"spec": {"expirationSeconds": TOKEN_S, "boundObjectRef": bound}}
    token = str(accounts.issue(account, request)["status"]["token"])
    texts = {"ca.crt": accounts.ca, "namespace": namespace_of(pod), "token": token}
    return tuple(VolumeFile(path=path, data=text.encode(), mode=_MODE) for path, text in texts.items())
