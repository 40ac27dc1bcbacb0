"""Asks one URL for one answer: for checks, sources of an analysis, and Prometheus.

Rule: no answer is a word about why, never an exception. Redirects are answers like any other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from string import Template

import httpx2 as httpx

from segue import __version__
from segue.analysis.answers import Silence

BODY_BYTES_MAX = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What came."""

    status: int
    body: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode(errors="replace")


def filled(text: str, facts: Mapping[str, str]) -> str:
    """A text with the facts it names ($SEGUE_VERSION); any other $ stays."""
    return Template(text).safe_substitute(facts)


def asker() -> httpx.AsyncClient:
    """A client of its own kept connections."""
    return httpx.AsyncClient(headers={"User-Agent": f"segue/{__version__}"}, follow_redirects=False)


async def ask_url(
    client: httpx.AsyncClient,
    url: str,
    *,
    timeout_s: float,
    query: Mapping[str, str] | None = None,
    token: str = "",
) -> Answered | Silence:
    """One GET."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        async with client.stream("GET", url, params=query or None, headers=headers, timeout=timeout_s) as answer:
            body = b""
            async for part in answer.aiter_bytes():
                body += part
                if len(body) > BODY_BYTES_MAX:
                    return Silence(because=f"{url} answers with more than {BODY_BYTES_MAX:,} bytes")
            return Answered(status=answer.status_code, body=body)
    except httpx.TimeoutException:
        return Silence(because=f"{url} does not answer within {timeout_s:g} s")
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        return Silence(because=f"{url} does not answer: {str(error) or type(error).__name__}")
