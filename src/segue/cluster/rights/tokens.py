"""Tokens of service accounts (TokenRequest): JSON Web Tokens that this cluster signs and believes for their time.

A token is bound to its account by uid, and to a pod or a secret where that was asked for: with them it ends.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass
from typing import cast

import msgspec

from segue.cluster.refusals import Cause, invalid_value
from segue.cluster.rights.rules import ACCOUNT
from segue.cluster.store import Store
from segue.model.errors import StatusError
from segue.model.objects import Obj, Ref, name_of, namespace_of, rfc3339, uid_of

ISSUER = "https://kubernetes.default.svc.cluster.local"
SHORTEST_S, USUAL_S, LONGEST_S = 600, 3600, 1 << 32
_BOUND_TO = {("v1", "Pod"): "pods", ("v1", "Secret"): "secrets"}
_HEADER = {"alg": "HS256", "typ": "JWT"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A service account that has proved itself."""

    name: str
    uid: str
    groups: tuple[str, ...]
    token_id: str


class Tokens:
    """Signs with a secret of the cluster's own."""

    def __init__(self, secret: bytes, store: Store) -> None:
        self._secret = secret
        self._store = store

    def issue(self, account: Obj, request: Obj, *, token_id: str, now_s: float) -> Obj:
        """A TokenRequest with its token; StatusError 422 or 404 where it cannot be had."""
        spec = {"audiences": [ISSUER], "expirationSeconds": USUAL_S, **(request.get("spec") or {})}
        spec["audiences"] = spec["audiences"] or [ISSUER]
        _check_time(name_of(request), spec["expirationSeconds"])
        end_s = int(now_s) + int(spec["expirationSeconds"])
        about: Obj = {
            "namespace": namespace_of(account),
            "serviceaccount": {"name": name_of(account), "uid": uid_of(account)},
        }
        bound = spec.get("boundObjectRef")
        if bound:
            about |= self._bound(namespace_of(account), bound)
        claims: Obj = {
            "aud": spec["audiences"],
            "exp": end_s,
            "iat": int(now_s),
            "iss": ISSUER,
            "jti": token_id,
            "kubernetes.io": about,
            "nbf": int(now_s),
            "sub": f"{ACCOUNT}{namespace_of(account)}:{name_of(account)}",
        }
        status = {"token": self._signed(claims), "expirationTimestamp": rfc3339(end_s)}
        metadata = {"name": name_of(account), "namespace": namespace_of(account), "creationTimestamp": rfc3339(now_s)}
        return {
            "kind": "TokenRequest",
            "apiVersion": "authentication.k8s.io/v1",
            "metadata": metadata,
            "spec": spec,
            "status": status,
        }

    def account_of(self, token: str, now_s: float) -> Account | None:
        """Whose token it is, None where it is none, or no longer one."""
        claims = self._claims(token)
        if claims is None or claims["exp"] <= now_s or ISSUER not in claims["aud"]:
            return None
        about = claims["kubernetes.io"]
        namespace, account = about["namespace"], about["serviceaccount"]
        kept = [("serviceaccounts", account)]
        kept += [(resource, about[kind.lower()]) for (_, kind), resource in _BOUND_TO.items() if kind.lower() in about]
        for resource, wanted in kept:
            found = self._store.get(Ref(resource=resource, namespace=namespace, name=wanted["name"]))
            if found is None or uid_of(found) != wanted["uid"]:
                return None
        return Account(
            name=claims["sub"],
            uid=account["uid"],
            groups=("system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated"),
            token_id=claims["jti"],
        )

    def _bound(self, namespace: str, reference: Obj) -> Obj:
        kind = str(reference.get("kind") or "")
        resource = _BOUND_TO.get((str(reference.get("apiVersion") or "v1"), kind))
        name = str(reference.get("name") or "")
        if resource is None:
            raise StatusError(400, "BadRequest", f"cannot bind token for serviceaccount to a {kind}")
        found = self._store.get(Ref(resource=resource, namespace=namespace, name=name))
        if found is None:
            raise StatusError(404, "NotFound", f'{resource} "{name}" not found', {"name": name, "kind": resource})
        if reference.get("uid") not in {None, "", uid_of(found)}:
            why = (
                f'Operation cannot be fulfilled on {resource} "{name}": the UID in the bound object reference '
                f"({reference['uid']}) does not match the UID in record. The object might have been deleted and then "
                "recreated"
            )
            raise StatusError(409, "Conflict", why, {"name": name, "kind": resource})
        return {kind.lower(): {"name": name, "uid": uid_of(found)}}

    def _signed(self, claims: Obj) -> str:
        text = f"{_packed(msgspec.json.encode(_HEADER))}.{_packed(msgspec.json.encode(claims))}"
        return f"{text}.{self._signature(text)}"

    def _signature(self, text: str) -> str:
        return _packed(hmac.digest(self._secret, text.encode(), hashlib.sha256))

    def _claims(self, token: str) -> Obj | None:
        text, _, signature = token.rpartition(".")
        if not text or not hmac.compare_digest(self._signature(text).encode(), signature.encode()):
            return None
        packed = text.partition(".")[2]
        return cast("Obj", msgspec.json.decode(base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4))))


def _check_time(name: str, seconds: int) -> None:
    field = "spec.expirationSeconds"
    cause: Cause | None = None
    if seconds < SHORTEST_S:
        cause = invalid_value(field, seconds, "may not specify a duration less than 10 minutes")
    elif seconds > LONGEST_S:
        cause = invalid_value(field, seconds, "may not specify a duration larger than 2^32 seconds")
    if cause is None:
        return
    told: Obj = {"reason": cause.reason, "message": cause.message, "field": cause.field}
    message = f'TokenRequest.authentication.k8s.io "{name}" is invalid: {cause.field}: {cause.message}'
    details: Obj = {"name": name, "group": "authentication.k8s.io", "kind": "TokenRequest", "causes": [told]}
    raise StatusError(422, "Invalid", message, details)


def _packed(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
