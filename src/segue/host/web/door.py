"""Who may see the live page and press its buttons: token, Host, Origin. Values in, a refusal or none out.

    Host     a name that an attacker owns may be pointed at this machine (DNS rebinding): an address cannot be, and
             other names than localhost are let in only where the user named them
    token    in the first URL, then in a cookie that no script reads and no foreign page sends along
    buttons  also the Origin of the page itself, and a second token in a header, which only the page knows
Rule: tokens are compared in constant time, and refusals do not tell what would have been right.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass

HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
FORM_HEADER = "x-segue-token"


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """One server's tokens, and the names that it is known by."""

    token: str
    form_token: str
    cookie: str  # its name
    names: frozenset[str] = frozenset({"localhost"})

    def refusal(self, method: str, headers: Mapping[str, str]) -> tuple[int, str] | None:
        """Why a request is refused, with its status; None where it may pass."""
        if not self._known(headers.get("host", "")):
            return 421, "this host name is unknown here: segue web --name NAME lets it in"
        if headers.get("sec-fetch-site", "none") not in {"none", "same-origin"} and method != "GET":
            return 403, "this page may only be used from itself"
        if not _same(_cookie(headers.get("cookie", ""), self.cookie), self.token):
            return 401, "open the address that segue web has printed: its token is missing or wrong"
        if method == "GET":
            return None
        if headers.get("origin") != f"http://{headers.get('host')}":
            return 403, "a button can only be pressed on the page itself"
        if not _same(headers.get(FORM_HEADER, ""), self.form_token):
            return 403, "the page is of an earlier run of segue web: load it again"
        return None

    def opens(self, said: str) -> bool:
        """Whether a token out of a URL is the right one."""
        return _same(said, self.token)

    def set_cookie(self) -> str:
        """The cookie that stands for the token from then on."""
        return f"{self.cookie}={self.token}; Path=/; HttpOnly; SameSite=Strict"

    def knows_host(self, headers: Mapping[str, str]) -> bool:
        """Whether the Host header is one of ours."""
        return self._known(headers.get("host", ""))

    def _known(self, host: str) -> bool:
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
        try:
            ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            return name.lower() in self.names
        return True


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())


def _cookie(text: str, name: str) -> str:
    for part in text.split(";"):
        key, _, value = part.strip().partition("=")
        if key == name:
            return value
    return ""
