"""A small web application whose threads can be made to die, as those of the question do.

    /          200 at once            /slow      200 after SLOW_S seconds (3)
    /crash     200, and then the thread that answered is gone     /hang      200, and then it waits for ever
Every answer ends with the pod's name. Each dead thread is a line in the file THREAD_LOG, if that is set.
"""

import ctypes
import os
import platform
import threading
import time
from pathlib import Path

POD = os.environ.get("HOSTNAME", "")
LOG = os.environ.get("THREAD_LOG", "")
SLOW_S = float(os.environ.get("SLOW_S", "3"))
EXIT_THREAD = {"x86_64": 60, "aarch64": 93}[platform.machine()]  # the number of exit(2), which ends one thread only


def application(environ, start_response):
    """Answer one request."""
    path = environ["PATH_INFO"]
    if path == "/slow":
        time.sleep(SLOW_S)
    body = f"{path} {POD}\n".encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return Dying(body, path) if path in {"/crash", "/hang"} else [body]


class Dying:
    """An answer that costs its thread, after it has been sent."""

    def __init__(self, body, path):
        self._body = body
        self._path = path

    def __iter__(self):
        yield self._body

    def close(self):
        """The server calls this when the answer is out."""
        if LOG:
            with Path(LOG).open("a") as log:
                log.write(f"thread {threading.get_native_id()} died\n")
        if self._path == "/crash":
            ctypes.CDLL(None).syscall(EXIT_THREAD, 0)
        threading.Event().wait()
