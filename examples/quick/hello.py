"""A server of your own for the embedded cluster (docs/how-to/own-images.md): answers with its version.

On SIGTERM it stops accepting and answers what is under way. POD_IP is where to listen: in loopback mode all pods share
the machine's network.
"""

import os
import signal
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Hello(BaseHTTPRequestHandler):
    """One request."""

    def do_GET(self) -> None:
        """Every path gets the same answer."""
        text = f"hello from {os.environ.get('VERSION', 'nobody')}\n".encode()
        self.send_response(200)
        self.send_header("X-Version", os.environ.get("VERSION", ""))
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        """No line per request."""


class Server(ThreadingHTTPServer):
    """Waits for the requests that are under way when it closes."""

    daemon_threads = False
    request_queue_size = 1024


server = Server((os.environ.get("POD_IP", ""), 8080), Hello)
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
server.serve_forever(poll_interval=0.05)
server.server_close()
