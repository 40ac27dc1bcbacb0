"""The server that tests pull the strings of: it answers probes as told, and tells what happened to it, and when.

    /            "VERSION HOSTNAME"                      /ready /health /startup  as `set`, 200 by default
    /set?a=b&c=d strings, see below                      /events   what happened so far, as a JSON list
    /slow?s=N    answers after N seconds                 /hook?s=N&status=S  the same, noted as `hook`
    /stream?s=N&every=S  server-sent events, one each S seconds, until N are over
    /redirect?to=URL&status=302    /circle to itself     /exit?code=N  ends at once with this code
    /deaf        closes the listener, lives on           /stuck    never accepts again, the listener stays open
    /lookup?name=N  what the pod's C library finds: {"addresses": [...]} or {"code": getaddrinfo's}
    /hook also takes ready=503, set before it waits

Strings, by /set or in the variable PUPPET as `name=value,name=value`:
    ready, health, startup   the status of that path, so often (`500*2`, then 200), or `hang`
    term                     exit (default) | ignore | N (closes the listener at SIGTERM, exits after N seconds)
                             drain: accepts all that wait, closes the listener, exits after 2 seconds
                             none: SIGTERM has no handler (only in the variable)
    listen_s                 seconds until it listens
    close                    1: each answer ends its connection
    burn                     thousandths of a CPU that it burns, in slices of 0.1 s
    room                     how many /slow it answers at a time; one more is answered 503 at once

Every happening is a line of JSON on standard output, with the wall clock's seconds: {"t": 1.5, "what": "SIGTERM"}.
Rule: standard library only; it runs as a process of the embedded cluster and in an image on a real one.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import FrameType
from urllib.parse import parse_qsl, urlsplit

STRINGS = {"ready": "200", "health": "200", "startup": "200", "term": "exit", "listen_s": "0", "close": "0"}
STRINGS |= {"burn": "0", "room": "1000"}
BUSY: list[object] = []
EVENTS: list[dict[str, str | float]] = []
_UDP_PORT = 5353
_NEVER_S = 86_400.0


def note(what: str, **more: str) -> None:
    """Keep and print one happening."""
    happening: dict[str, str | float] = {"t": time.time(), "what": what, **more}
    EVENTS.append(happening)
    # In one write: two threads must not share a line, and a signal may come in the middle of one
    os.write(1, f"{json.dumps(happening)}\n".encode())


def look_up(name: str) -> dict[str, list[str] | int]:
    """Ask the C library, as any program would."""
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        return {"code": error.errno or 0}
    return {"addresses": sorted({str(one[4][0]) for one in found})}


def pause(seconds: float) -> None:
    """Let time pass in this thread."""
    threading.Event().wait(seconds)


def take(name: str) -> str:
    """The string of a probed path; `500*2` is 500 twice, then 200."""
    string, _, times = STRINGS[name].partition("*")
    if times:
        STRINGS[name] = f"{string}*{int(times) - 1}" if int(times) > 1 else "200"
    return string


@contextmanager
def occupied() -> Iterator[bool]:
    """One more at work while the block runs; whether there was no room for it."""
    me = object()
    BUSY.append(me)
    try:
        yield len(BUSY) > int(STRINGS["room"])
    finally:
        BUSY.remove(me)


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer by path."""
        url = urlsplit(self.path)
        asked = dict(parse_qsl(url.query))
        name = url.path.strip("/")
        match name:
            case "ready" | "health" | "startup":
                peer, port = self.client_address[:2]
                agent, string = self.headers.get("User-Agent") or "", take(name)
                note("probe", path=name, peer=peer, port=str(port), agent=agent, status=string)
                self._as_told(string)
            case "set":
                STRINGS.update(asked)
                self._say(200, json.dumps(STRINGS))
            case "events":
                self._say(200, json.dumps(EVENTS))
            case "slow" | "hook":
                note(name, agent=self.headers.get("User-Agent") or "")
                STRINGS["ready"] = asked.get("ready", STRINGS["ready"])
                with occupied() as is_full:
                    if is_full and name == "slow":
                        self._say(503, "no room\n")
                        return
                    pause(float(asked.get("s", "0")))
                note(f"{name} ends", waited="no" if self._left_alone() else "yes")
                self._say(int(asked.get("status", "200")), f"{name}\n")
            case "stream":
                self._stream(float(asked.get("s", "0")), float(asked.get("every", "1")))
            case "redirect":
                note("redirect", to=asked["to"])
                self._say(int(asked.get("status", "302")), "", location=asked["to"])
            case "circle":
                note("circle")
                self._say(302, "", location="/circle")
            case "exit":
                os._exit(int(asked.get("code", "0")))
            case "deaf":
                SERVER.halt()
                SERVER.listener_away()
                self._say(200, "")
            case "stuck":
                SERVER.halt()
                self._say(200, "")
            case "lookup":
                self._say(200, json.dumps(look_up(asked["name"])))
            case "":
                self._say(200, f"{os.environ.get('VERSION', '')} {socket.gethostname()}\n")
            case _:
                self._say(404, "")

    def _stream(self, for_s: float, every_s: float) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        end_s = time.monotonic() + for_s
        while time.monotonic() < end_s:
            self.wfile.write(b"data: on\n\n")
            pause(every_s)
        self.wfile.write(b"data: end\n\n")

    def _as_told(self, string: str) -> None:
        if string == "hang":
            pause(_NEVER_S)
        self._say(int(string), "")

    def _left_alone(self) -> bool:
        """Whether who asked has gone without waiting for the answer."""
        try:
            return not self.connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def _say(self, status: int, text: str, location: str = "") -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if location:
            self.send_header("Location", location)
        if STRINGS["close"] == "1":
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        """The events say more."""


class Server(ThreadingHTTPServer):
    """A server whose listener can go while it lives."""

    daemon_threads = True
    request_queue_size = 128
    stuck = False
    halted = threading.Event()

    def halt(self) -> None:
        """Accept nothing more: returns when the thread that accepts has left."""
        self.stuck = True  # seen after the next connection, which is this
        with socket.create_connection(self.socket.getsockname()):
            self.halted.wait()

    def listener_away(self) -> None:
        """Connections that nobody accepted yet are reset (N1), later ones refused (N2)."""
        self.socket.close()
        note("deaf")

    def drain(self) -> None:
        """Accept until nobody waits, and only then close (N4)."""
        if not self.halted.is_set():
            self.halt()
        self.socket.setblocking(False)
        while True:
            try:
                request, peer = self.socket.accept()
            except BlockingIOError:
                break
            request.setblocking(True)
            self.process_request(request, peer)
        self.listener_away()

    def serve(self) -> None:
        """Accept until the listener is gone or halted; then live on."""
        while self.socket.fileno() >= 0 and not self.stuck:
            try:
                request, peer = self.socket.accept()
            except OSError:
                break
            self.process_request(request, peer)
        self.halted.set()


def on_signal(number: int, _frame: FrameType | None) -> None:
    """Note it; SIGTERM does what the string `term` says."""
    note(signal.Signals(number).name)
    if number != signal.SIGTERM or STRINGS["term"] == "ignore":
        return
    if STRINGS["term"] == "exit":
        os._exit(0)
    # In a thread: a signal handler that waits would keep the main thread from its accepting
    threading.Thread(target=leave, args=(STRINGS["term"],)).start()


def leave(how: str) -> None:
    """What a graceful server does: no new connections, then the end."""
    if how == "drain":
        SERVER.drain()
    else:
        # Closing alone does not wake a thread in accept(), and the kernel would go on taking connections for it
        SERVER.socket.shutdown(socket.SHUT_RDWR)
        SERVER.listener_away()
    pause(2.0 if how == "drain" else float(how))
    note("exit")
    os._exit(0)


def burn() -> None:
    """Be busy for the share of each slice that the string `burn` says."""
    while True:
        busy_s = int(STRINGS["burn"]) / 10_000
        until_s = time.monotonic() + busy_s
        while time.monotonic() < until_s:
            pass
        pause(0.1 - busy_s)


def echo(host: str) -> None:
    """UDP: who answers."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mine:
        mine.bind((host, _UDP_PORT))
        while True:
            _, peer = mine.recvfrom(2048)
            mine.sendto(socket.gethostname().encode(), peer)


for pair in filter(None, os.environ.get("PUPPET", "").split(",")):
    name, _, value = pair.partition("=")
    STRINGS[name] = value
if STRINGS["term"] == "none":
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
for each in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1, signal.SIGHUP):
    if each != signal.SIGTERM or STRINGS["term"] != "none":
        signal.signal(each, on_signal)
note("start", version=os.environ.get("VERSION", ""))
pause(float(STRINGS["listen_s"]))
HOST = os.environ.get("POD_IP") or "0.0.0.0"
SERVER = Server((HOST, int(os.environ.get("PORT") or 8080)), Handler)
threading.Thread(target=echo, args=(HOST,), daemon=True).start()
threading.Thread(target=burn, daemon=True).start()
note("listening")
SERVER.serve()
while True:
    signal.pause()
