"""What `segue measure` runs in its pods: one that answers with its name, or one that calls a Service again and again.

    GET /           this pod's name                     GET /ready   200, or 503 while it is switched off
    GET /off, /on   readiness off and on again          GET /calls?after=N   {"now", "next", "rows": [[at, who], ...]}

Rule 1: after SIGTERM it goes on answering for $SEGUE_LINGER seconds: whoever still comes to a pod that is being deleted
is seen.
Rule 2: one thread. A call waits for its answer for at most CALL_S, and is then told as the error that it was.
Standard library's light modules only: the whole text is handed to an interpreter, so any image with Python 3 will do.

Environment: POD_NAME, POD_IP, SEGUE_PORT, SEGUE_LINGER; for the caller SEGUE_CALL (ADDRESS:PORT of the Service) and
SEGUE_RATE.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import time

CALL_S = 0.5
ROWS_MAX = 20_000
REQUEST_S = 1.0  # for who connects to say what for
ROWS_AT_ONCE = 4000
TICK_S = 0.5


class Calls:
    """What a caller has heard: when it called, and which pod answered ("!" and why where none did)."""

    def __init__(self) -> None:
        self.first = 0  # number of the oldest row that is kept
        self.rows: list[tuple[float, str]] = []

    def add(self, at_s: float, who: str) -> None:
        """One more call."""
        self.rows.append((at_s, who))
        if len(self.rows) > ROWS_MAX:
            del self.rows[: ROWS_MAX // 2]
            self.first += ROWS_MAX // 2

    def after(self, number: int) -> dict[str, object]:
        """The calls from a number on."""
        begin = max(0, number - self.first)
        rows = self.rows[begin : begin + ROWS_AT_ONCE]
        return {"now": time.time(), "next": self.first + begin + len(rows), "rows": rows}


def call(address: str, port: int) -> str:
    """One call on a connection of its own: who answered."""
    try:
        with socket.create_connection((address, port), timeout=CALL_S) as way:
            way.sendall(b"GET / HTTP/1.0\r\n\r\n")
            said = b""
            while part := way.recv(4096):
                said += part
    except OSError as error:
        return f"!{type(error).__name__}"
    head, _, body = said.partition(b"\r\n\r\n")
    return body.decode(errors="replace") if b" 200 " in head else "!no answer"


def serve(listener: socket.socket, calls: Calls, is_ready: bool, name: str) -> bool:
    """One request; whether this pod is ready from now on."""
    way, _ = listener.accept()
    with way:
        way.settimeout(REQUEST_S)
        try:
            asked = b""
            while b"\r\n\r\n" not in asked and (part := way.recv(4096)):
                asked += part
            path, _, query = asked.split(b" ", 2)[1].decode().partition("?")
            code, said = 200, name
            if path in ("/on", "/off"):
                is_ready = path == "/on"
                said = json.dumps({"ready": is_ready})
            elif path == "/ready":
                code = 200 if is_ready else 503
            elif path == "/calls":
                said = json.dumps(calls.after(int(query.partition("after=")[2] or 0)))
            kind = "application/json" if said.startswith("{") else "text/plain"
            head = f"HTTP/1.1 {code} {'OK' if code == 200 else 'Service Unavailable'}\r\nContent-Type: {kind}\r\n"
            way.sendall(f"{head}Content-Length: {len(said)}\r\nConnection: close\r\n\r\n{said}".encode())
        except (OSError, ValueError, IndexError):
            return is_ready
    return is_ready


def main() -> None:
    """Answer, and call where that is asked for, until SIGKILL."""
    linger_s = float(os.environ.get("SEGUE_LINGER") or 0)
    ends_s: list[float] = []
    signal.signal(signal.SIGTERM, lambda *_: ends_s.append(time.monotonic() + linger_s))
    target, _, port = os.environ.get("SEGUE_CALL", "").rpartition(":")
    every_s = 1.0 / float(os.environ.get("SEGUE_RATE") or 20)
    address, own = os.environ.get("POD_IP") or "", int(os.environ.get("SEGUE_PORT") or 8080)
    calls, is_ready, name = Calls(), True, os.environ.get("POD_NAME") or socket.gethostname()
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, own), family=family, backlog=128) as listener:
        due_s = time.monotonic()
        while not ends_s or time.monotonic() < ends_s[0]:
            wait_s = max(0.0, due_s - time.monotonic()) if target else TICK_S
            if select.select([listener], [], [], wait_s)[0]:
                is_ready = serve(listener, calls, is_ready, name)
            if target and time.monotonic() >= due_s:
                at_s = time.time()
                calls.add(at_s, call(target.strip("[]"), int(port)))
                due_s = max(due_s + every_s, time.monotonic())


if __name__ == "__main__":
    main()
