"""The seed's example server: what Go's `net/http` with a graceful `Shutdown` does, in the standard library alone.

    /fast      200 at once                     /slow         200 after SLOW_S seconds (10)
    /health    200, or 500 while made to fail  /version      the version
    /fail-health, /heal                        turn the health answer off and on
    /metrics   requests answered by code, as Prometheus reads them; health checks and this one are not counted

SIGTERM closes the listener at once, as Go does (requests still in the accept queue are reset: N1, which is the whole
point), closes idle keep-alive connections, answers what is under way with `Connection: close`, then exits 0.
Rule 1: nothing but the standard library's light modules, for a pod must be up in 20 ms.
Rule 2: one process, one epoll, no thread: who reads it sees every moment at which a request can be lost.

Environment: POD_IP and PORT (listen address), VERSION, HOSTNAME, SLOW_S, and for drills
START_DELAY_S (listens later), TERM_DELAY_S (keeps listening after SIGTERM), IGNORE_TERM=1 (ends by SIGKILL only),
READY_LIES_S (healthy, yet /fast answers 503 so long), HANG=1 (accepts, never answers except /health),
CRASH_AFTER_S (exit code 3), HEALTH_FAIL_FILE (unhealthy while that file exists).
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import time

LISTEN_BACKLOG = 4096  # Go takes the system's somaxconn, 4096 on current kernels
ACCEPTS_IN_A_ROW = 64  # then other connections get their turn
READ_BYTES = 65536
NEW_IDLE_S = 5.0  # Go's Shutdown treats a connection that never sent a byte as idle after this
NEVER_S = 1e12

_EDGE = select.EPOLLIN | select.EPOLLRDHUP
_GONE = select.EPOLLERR | select.EPOLLHUP
_REASONS = {200: b"OK", 404: b"Not Found", 500: b"Internal Server Error", 503: b"Service Unavailable"}


class Settings:
    """What the environment says."""

    def __init__(self, env: dict[str, str]) -> None:
        self.host = env.get("POD_IP") or "0.0.0.0"
        self.port = int(env.get("PORT") or 10002)
        self.version = env.get("VERSION") or "dev"
        self.pod = env.get("HOSTNAME") or ""
        self.slow_s = float(env.get("SLOW_S") or 10)
        self.start_delay_s = float(env.get("START_DELAY_S") or 0)
        self.term_delay_s = float(env.get("TERM_DELAY_S") or 0)
        self.ready_lies_s = float(env.get("READY_LIES_S") or 0)
        self.crash_after_s = float(env.get("CRASH_AFTER_S") or NEVER_S)
        self.health_fail_file = env.get("HEALTH_FAIL_FILE") or ""
        self.hangs = env.get("HANG") == "1"
        self.ignores_term = env.get("IGNORE_TERM") == "1"


class Connection:
    """One client: what it sent and is not yet answered, and whether an answer is owed."""

    __slots__ = ("accepted_s", "closing", "data", "fd", "half_closed", "owed", "used", "watched")

    def __init__(self, fd: int, now_s: float) -> None:
        self.fd = fd
        self.data = b""
        self.owed = False  # a /slow answer is under way
        self.closing = False  # the answer under way is the last one
        self.half_closed = False  # the client sends no more
        self.watched = False  # epoll knows it
        self.used = False  # it has sent a byte
        self.accepted_s = now_s


class Server:
    """The loop: accept, read, answer; and on SIGTERM the way out."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.healthy = True
        self.stopping = False
        self.close_at_s = NEVER_S
        self.started_s = time.monotonic()
        self.slow: list[tuple[float, Connection]] = []  # due times only grow: SLOW_S is one number
        self.connections: dict[int, Connection] = {}
        self.answers: dict[tuple[int, bytes, bool], bytes] = {}
        self.answered: dict[int, int] = {200: 0}
        self.epoll = select.epoll()
        # The handler first: whoever listens may be told to go, and without one SIGTERM ends it on the spot (X6)
        self.wake_fd = _wake_on_signals(settings)
        self.epoll.register(self.wake_fd, select.EPOLLIN)
        self.listener: socket.socket | None = _listen(settings.host, settings.port)
        self.epoll.register(self.listener.fileno(), select.EPOLLIN)

    def run(self) -> None:
        """Serve until SIGTERM has been obeyed."""
        listener_fd = self.listener.fileno() if self.listener else -1
        while not (self.stopping and self.listener is None and not self.connections):
            for fd, events in self.epoll.poll(self._patience_s(), 256):
                if fd == self.wake_fd:
                    self._on_signal()
                elif fd == listener_fd and self.listener is not None:
                    self._accept(self.listener)
                elif (connection := self.connections.get(fd)) is not None:
                    self._on_events(connection, events)
            self._on_time(time.monotonic())

    def _patience_s(self) -> float:
        now_s = time.monotonic()
        due_s = self.slow[0][0] if self.slow else NEVER_S
        due_s = min(due_s, self.close_at_s, self.started_s + self.settings.crash_after_s)
        if self.stopping:
            due_s = min(due_s, now_s + 0.5)  # Go polls for idle connections in the same way
        return max(0.0, min(due_s - now_s, 3600.0))

    def _on_time(self, now_s: float) -> None:
        while self.slow and self.slow[0][0] <= now_s:
            connection = self.slow.pop(0)[1]
            if connection.fd in self.connections and self.connections[connection.fd] is connection:
                connection.owed = False
                self._answer(connection, 200, b"slow", connection.closing)
                if connection.fd in self.connections:
                    self._serve(connection)
        if now_s >= self.close_at_s:
            self._close_listener()
        if self.stopping:
            for connection in list(self.connections.values()):
                if not connection.owed and not connection.used and now_s - connection.accepted_s > NEW_IDLE_S:
                    self._close(connection)
        if now_s - self.started_s >= self.settings.crash_after_s:
            os._exit(3)

    # --- connections ------------------------------------------------------------------------------------------

    def _accept(self, listener: socket.socket) -> None:
        now_s = time.monotonic()
        for _ in range(ACCEPTS_IN_A_ROW):
            try:
                fd = listener.accept()[0].detach()  # bare descriptors are cheapest
            except OSError:  # nobody is waiting, or the one who waited is gone
                return
            os.set_blocking(fd, False)
            connection = self.connections[fd] = Connection(fd, now_s)
            self._read(connection)
            # most requests are answered before epoll would have to know about them
            if not connection.watched and self.connections.get(fd) is connection:
                connection.watched = True
                self.epoll.register(fd, _EDGE)

    def _on_events(self, connection: Connection, events: int) -> None:
        if events & _GONE:
            self._close(connection)
        else:
            self._read(connection)

    def _read(self, connection: Connection) -> None:
        try:
            data = os.read(connection.fd, READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            self._close(connection)
            return
        if data:
            connection.used = True
            connection.data += data
            self._serve(connection)
        elif connection.owed:  # the client sends no more, but waits for its answer
            connection.half_closed = True
            if connection.watched:
                self.epoll.modify(connection.fd, 0)
        else:
            self._close(connection)

    def _close(self, connection: Connection) -> None:
        del self.connections[connection.fd]
        os.close(connection.fd)  # epoll forgets it by itself

    # --- requests ---------------------------------------------------------------------------------------------

    def _serve(self, connection: Connection) -> None:
        """Answer every whole request that is there."""
        while not connection.owed and connection.data:
            head_end = connection.data.find(b"\r\n\r\n")
            if head_end < 0:
                return
            head = connection.data[:head_end]
            lowered = head.lower()
            whole = head_end + 4 + _body_length(lowered)
            if len(connection.data) < whole:
                return
            connection.data = connection.data[whole:]
            closing = b"connection: close" in lowered or (
                b" http/1.0" in lowered and b"connection: keep-alive" not in lowered
            )
            self._request(connection, head, closing)
            if self.connections.get(connection.fd) is not connection:
                return
        if connection.half_closed and not connection.owed:
            self._close(connection)

    def _request(self, connection: Connection, head: bytes, closing: bool) -> None:
        path = head.split(b" ", 2)[1].split(b"?", 1)[0] if head.count(b" ", 0, 2048) >= 2 else b"/"
        settings = self.settings
        if path in {b"/health", b"/healthz"}:
            self._answer(connection, 200 if self._is_healthy() else 500, b"health", closing)
        elif path == b"/metrics":
            self._write(connection, self._metrics(closing or self.stopping), closing or self.stopping)
        elif settings.hangs:
            connection.owed = True
        elif path == b"/fast":
            lies = settings.ready_lies_s and time.monotonic() - self.started_s < settings.ready_lies_s
            self._answer(connection, 503 if lies else 200, b"fast", closing)
        elif path == b"/slow":
            connection.owed = True
            connection.closing = closing
            self.slow.append((time.monotonic() + settings.slow_s, connection))
        elif path in {b"/version", b"/"}:
            self._answer(connection, 200, b"version", closing)
        elif path in {b"/fail-health", b"/heal"}:
            self.healthy = path == b"/heal"
            self._answer(connection, 200, path[1:], closing)
        else:
            self._answer(connection, 404, b"not found", closing)

    def _is_healthy(self) -> bool:
        file = self.settings.health_fail_file
        # the only look at the file system, and only where a drill asked for it
        return self.healthy and not (file and os.access(file, os.F_OK))

    def _answer(self, connection: Connection, code: int, word: bytes, closing: bool) -> None:
        closing = closing or self.stopping  # Go's server says so too once it shuts down
        key = (code, word, closing)
        text = self.answers.get(key)
        if text is None:
            text = self.answers[key] = self._text(code, word, closing)
        if word != b"health":
            self.answered[code] = self.answered.get(code, 0) + 1
        self._write(connection, text, closing)

    def _write(self, connection: Connection, text: bytes, closing: bool) -> None:
        try:
            os.write(connection.fd, text)  # 200 bytes into an empty buffer: written whole or not at all
        except OSError:
            self._close(connection)
            return
        if closing:
            self._close(connection)

    def _metrics(self, closing: bool) -> bytes:
        rows = [b'http_requests_total{code="%d"} %d\n' % row for row in sorted(self.answered.items())]
        body = b"# TYPE http_requests_total counter\n" + b"".join(rows)
        return b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: %d\r\n%s\r\n%s" % (
            len(body),
            b"Connection: close\r\n" if closing else b"",
            body,
        )

    def _text(self, code: int, word: bytes, closing: bool) -> bytes:
        version = self.settings.version.encode()
        body = b"%s %s %s\n" % (word, version, self.settings.pod.encode())
        return b"HTTP/1.1 %d %s\r\nX-Version: %s\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n%s\r\n%s" % (
            code,
            _REASONS[code],
            version,
            len(body),
            b"Connection: close\r\n" if closing else b"",
            body,
        )

    # --- the way out ------------------------------------------------------------------------------------------

    def _on_signal(self) -> None:
        os.read(self.wake_fd, 64)
        if self.stopping:
            return
        self.stopping = True
        _say(f"SIGTERM, {len(self.connections)} connections")
        if self.settings.term_delay_s:
            self.stopping = False
            self.close_at_s = min(self.close_at_s, time.monotonic() + self.settings.term_delay_s)
        else:
            self._close_listener()

    def _close_listener(self) -> None:
        self.close_at_s = NEVER_S
        self.stopping = True
        if self.listener is None:
            return
        self.listener.close()
        self.listener = None
        for connection in list(self.connections.values()):
            if connection.used and not connection.owed and not connection.data:
                self._close(connection)


def _listen(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    listener.listen(LISTEN_BACKLOG)
    listener.setblocking(False)
    return listener


def _wake_on_signals(settings: Settings) -> int:
    read_fd, write_fd = os.pipe()
    os.set_blocking(read_fd, False)
    os.set_blocking(write_fd, False)
    signal.set_wakeup_fd(write_fd, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN if settings.ignores_term else _only_wake)
    return read_fd


def _only_wake(_number: int, _frame: object) -> None:
    """Python needs a handler, else the wake-up pipe gets nothing."""


def _body_length(lowered_head: bytes) -> int:
    at = lowered_head.find(b"content-length:")
    if at < 0:
        return 0
    digits = lowered_head[at + 15 :].split(b"\r\n", 1)[0].strip()
    return int(digits) if digits.isdigit() else 0


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> int:
    """Serve as the environment says; the exit code."""
    settings = Settings(dict(os.environ))
    if settings.start_delay_s:
        time.sleep(settings.start_delay_s)
    try:
        server = Server(settings)
    except OSError as error:
        _say(f"cannot listen on {settings.host}:{settings.port}: {error}")
        return 1
    _say(f"grace {settings.version} listens on {settings.host}:{settings.port}")
    server.run()
    _say("bye")
    return 0


if __name__ == "__main__":
    sys.exit(main())
