"""A backend that tells what it was asked, as JSON: standard library only, started through an image map."""

from __future__ import annotations

import json
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        self.rfile.read(length)
        if self.path.startswith("/slow"):
            threading.Event().wait(2)
        headers = {name.lower(): value for name, value in self.headers.items()}
        told = {"who": os.environ["WHO"], "method": self.command, "path": self.path, "headers": headers}
        body = json.dumps(told).encode()
        if self.path != "/health":
            print(json.dumps(told), flush=True)  # noqa: T201 - its log
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Inner", "1")
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = answer  # noqa: N815 - the names http.server looks for

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the base class has it
        """Nothing: the answers are the log."""


if __name__ == "__main__":
    ThreadingHTTPServer(("0.0.0.0", int(sys.argv[1])), Echo).serve_forever()
