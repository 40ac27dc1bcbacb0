"""A turn that only one pod has at a time: a Lease in its namespace, taken with the pod's own service account.

    rules of the Role: apiGroups ["coordination.k8s.io"], resources ["leases"], verbs ["get", "create", "update"]

Rule 1: it is held only while it is renewed: a pod that never comes back does not keep the others from their turn.
Rule 2: every write names the version that was read (resourceVersion), so of two that take it at once one is refused.
Standard library only.
"""

from __future__ import annotations

import datetime
import http.client
import json
import os
import ssl
from collections.abc import Mapping
from typing import Any, TypeAlias

ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
HELD_S = 30
_CALL_S = 3.0
_KIND = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease"}
_Json: TypeAlias = dict[str, Any]  # type: ignore[explicit-any]  # an object of the API


class NoAnswer(Exception):
    """There is nobody to ask, or we may not: the reason."""


class Api:
    """Calls to the API server as the pod's own account."""

    def __init__(self, env: Mapping[str, str], account: str = ACCOUNT) -> None:
        self._host = env.get("KUBERNETES_SERVICE_HOST", "")
        self._port = int(env.get("KUBERNETES_SERVICE_PORT") or 443)
        self._account = account

    @property
    def namespace(self) -> str:
        """The pod's own."""
        return self._read("namespace")

    def call(self, method: str, path: str, body: _Json | None = None) -> tuple[int, _Json]:
        """One call; NoAnswer where there is nobody to ask."""
        token = self._read("token")
        try:
            context = ssl.create_default_context(cafile=f"{self._account}/ca.crt")
            way = http.client.HTTPSConnection(self._host, self._port, timeout=_CALL_S, context=context)
            headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
            way.request(method, path, json.dumps(body) if body else None, headers)
            answer = way.getresponse()
            found: _Json = json.loads(answer.read() or b"{}")
            way.close()
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise NoAnswer(f"the API server does not answer: {error}") from error
        return answer.status, found

    def _read(self, name: str) -> str:
        if not self._host:
            raise NoAnswer("no API server is known in this pod")
        try:
            with open(f"{self._account}/{name}") as file:  # noqa: PTH123 - a light module
                return file.read().strip()
        except OSError as error:
            raise NoAnswer(f"the pod has no account of its own: {error.strerror}") from error


class Lease:
    """One turn."""

    def __init__(self, api: Api, name: str, holder: str = "") -> None:
        self._api = api
        self._name = name
        self._holder = holder or os.environ.get("HOSTNAME", "")

    def take(self, now_s: float) -> bool:
        """Take it, or renew it; whether it is ours. `now_s` is the wall clock's. NoAnswer where we may not."""
        path = f"/apis/coordination.k8s.io/v1/namespaces/{self._api.namespace}/leases"
        code, found = self._api.call("GET", f"{path}/{self._name}")
        if code == 404:
            made = {**_KIND, "metadata": {"name": self._name}, "spec": self._spec(now_s)}
            return self._done(*self._api.call("POST", path, made))
        self._done(code, found)
        if self._is_held(found, now_s):
            return False
        found["spec"] = self._spec(now_s)
        return self._done(*self._api.call("PUT", f"{path}/{self._name}", found))

    def give_back(self) -> None:
        """Let the next one have it, if it is ours. NoAnswer where that could not be said; it then ends by itself."""
        path = f"/apis/coordination.k8s.io/v1/namespaces/{self._api.namespace}/leases/{self._name}"
        code, found = self._api.call("GET", path)
        if code == 200 and found.get("spec", {}).get("holderIdentity") == self._holder:
            found["spec"] = {**found["spec"], "holderIdentity": ""}
            self._done(*self._api.call("PUT", path, found))

    def _spec(self, now_s: float) -> _Json:
        now = datetime.datetime.fromtimestamp(now_s, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return {"holderIdentity": self._holder, "leaseDurationSeconds": HELD_S, "renewTime": now}

    def _is_held(self, found: _Json, now_s: float) -> bool:
        spec = found.get("spec") or {}
        holder, renewed = spec.get("holderIdentity") or "", spec.get("renewTime") or ""
        if holder in {"", self._holder} or not renewed:
            return False
        until = datetime.datetime.fromisoformat(renewed).timestamp()
        return now_s < until + float(spec.get("leaseDurationSeconds") or HELD_S)

    def _done(self, code: int, found: _Json) -> bool:
        if code in {200, 201}:
            return True
        if code == 409:  # another was quicker
            return False
        raise NoAnswer(f"Lease {self._name}: {code} {found.get('message', '')}".strip())
