"""The few questions that starting a bed asks the API server.

Not segue's client: what the bed is there to judge must not be what brings it up.
"""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from http import HTTPStatus

from segue.model.objects import Obj
from testbed.layout import Bed

_LIMIT_S = 10.0


class Api:
    """The API server as the bed's administrator sees it from the host."""

    def __init__(self, bed: Bed, url: str) -> None:
        self._url = url
        self._context = ssl.create_default_context(cafile=str(bed.pki / "ca.crt"))
        self._context.load_cert_chain(bed.pki / "admin.crt", bed.pki / "admin.key")

    def call(self, method: str, path: str, body: Obj | None = None) -> tuple[int, Obj]:
        """Code and answer; code 0 where nobody answers."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._url + path, data, {"Content-Type": "application/json"}, method=method)  # noqa: S310 - https, built here
        try:
            with urllib.request.urlopen(request, timeout=_LIMIT_S, context=self._context) as answer:  # noqa: S310 - see above
                return answer.status, _parsed(answer.read())
        except urllib.error.HTTPError as refused:
            return refused.code, _parsed(refused.read())
        except OSError:
            return 0, {}

    def is_ready(self) -> bool:
        """Whether /readyz says so."""
        return self.call("GET", "/readyz")[0] == HTTPStatus.OK

    def has(self, path: str) -> bool:
        """Whether the object exists."""
        return self.call("GET", path)[0] == HTTPStatus.OK

    def condition(self, path: str, kind: str) -> bool:
        """Whether the object's condition of this kind is True."""
        conditions = self.call("GET", path)[1].get("status", {}).get("conditions", [])
        return any(each["type"] == kind and each["status"] == "True" for each in conditions)


def _parsed(text: bytes) -> Obj:
    try:
        parsed: Obj = json.loads(text)
    except ValueError:  # /readyz answers in words
        return {}
    return parsed
