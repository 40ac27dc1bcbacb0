"""Knocks at a pod for somebody who asked the API to: one GET, its answer as it came."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode

import httpx2 as httpx

from segue.model.errors import StatusError

LIMIT_S = 30.0


async def ask_pod(url: str, query: Mapping[str, str]) -> tuple[int, str, bytes]:
    """Status, content type and body; StatusError 503 where nobody answers, in the API server's words."""
    whole = f"{url}?{urlencode(query)}" if query else url
    try:
        async with httpx.AsyncClient(follow_redirects=False, timeout=LIMIT_S, trust_env=False, verify=False) as client:
            answer = await client.get(whole)
    except httpx.HTTPError as error:
        said = f"error trying to reach service: {str(error) or type(error).__name__}"
        raise StatusError(503, "ServiceUnavailable", said) from error
    return answer.status_code, answer.headers.get("content-type", "text/plain"), answer.content
