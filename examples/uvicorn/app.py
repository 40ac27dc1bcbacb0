"""A small ASGI application that can be made sick: requests that never end, although they have been answered.

    /          200 at once       /slow   200 after SLOW_S seconds (3)       /hang   200, and then it waits for ever
Every answer ends with the pod's name.
"""

import asyncio
import os

from segue.app.asgi import Leaving, Rules

POD = os.environ.get("HOSTNAME", "")
SLOW_S = float(os.environ.get("SLOW_S", "3"))


async def answer(scope, receive, send):
    """Answer one request."""
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    path = scope["path"]
    if path == "/slow":
        await asyncio.sleep(SLOW_S)
    body = f"{path} {POD}\n".encode()
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
    if path == "/hang":
        await asyncio.Event().wait()


# told: the readinessProbe's failureThreshold; stuck_s: longer than any request of this application
app = Leaving(answer, 8081, Rules(dead_threads=2, stuck_s=6, told=2))
