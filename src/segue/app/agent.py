"""The agent: a sidecar that counts who talks to its pod and answers one question: is it quiet?

    GET /quiet?cap_s=60    answers when nobody sends any more, or when the cap is over; for a preStop hook
    GET /sample            connections and the count of arrivals now, as JSON (?who=0: the count alone)
    GET /state             the evidence so far, as JSON
    GET /metrics           the same as Prometheus text
    GET /healthz           200

It serves on $SEGUE_PORT (9741) and on the abstract Unix socket `segue-agent` + $POD_IP, which all containers of the pod
see, and where `segue` asks by exec.

Rule 1: the standard library's light modules alone, unprivileged: it runs beside anything.
Rule 2: what cannot be seen never ends a wait early: sock_diag, else /proc/net, else time.
Rule 3: its own connections (hooks, scrapes) are no arrivals.

Environment: SEGUE_PORT; POD_IP, HOST_IP (of the pod and its node: probes come from there);
SEGUE_PORTS (`8080,9090`: those that count; else every port that is listened on, but for loopback and the agent's own);
SEGUE_PROBES (`10,5`: periods in seconds of the kubelet's probes that open connections).
"""

from __future__ import annotations

import json
import math
import os
import select
import signal
import socket
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

if not __package__:  # run as a file: its neighbours are found beside it
    sys.path.insert(0, os.path.abspath(__file__).rsplit("/", 3)[0])  # noqa: PTH100 - pathlib costs a megabyte
    __package__ = "segue.app"

from .quiet import Asked, Verdict, Watch  # noqa: E402 - not before they can be found
from .sockets import STATES, Diag, Proc, Row, address_of, is_loopback, passive_opens  # noqa: E402

PORT = 9741
UNIX = "\0segue-agent"  # pods that share a network are told apart by $POD_IP
IDLE_EVERY_S = 2.0
IDLE_EVERY_MAX_S = 30.0  # two looks into each TIME_WAIT
IDLE_SHARE = 0.005  # of a core, for looks while nobody waits
WAIT_EVERY_S = 0.1
WAIT_SHARE = 0.05
CLIENTS_MAX = 64
HEAD_BYTES_MAX = 8192
CLIENT_S = 10.0  # who has not asked by then is let go
BACKLOG = 128
LOOK_BACK_S = 60.0
COUNTS_MAX = 5
TALLY_EVERY_S = 2.0
UNSEEN_S = 3.0  # a source that has not answered for so long is none


class Looks:
    """Looks at this network, by the best source that answers."""

    def __init__(self, settings: dict[str, str]) -> None:
        self.own_port = int(settings.get("SEGUE_PORT") or PORT)
        self.accept_own: Callable[[], None] = lambda: None
        self.own = 0  # connections that this program has accepted
        self.given = {int(port) for port in settings.get("SEGUE_PORTS", "").split(",") if port}
        self.ports = self.given
        self.listening: set[int] = set()
        pod_ip = settings.get("POD_IP") or ""
        node = {settings.get("HOST_IP") or "", pod_ip.rpartition(".")[0] + ".1"}  # the usual bridge address
        periods_s = [float(period) for period in settings.get("SEGUE_PROBES", "").split(",") if period]
        self.watch = Watch(node, periods_s)
        self.source: Diag | Proc | None = None
        self.trouble = ""
        self.count = self.cost_s = 0.0
        self.tally: dict[tuple[int, str], list[int]] = {}  # for who asks by /sample: see `ended_by_sender`
        self.tally_s = 0.0
        self.opens = 0
        self.open_now = 0
        self.closed_at_s = 0.0
        # Within what a rhythm may be off by, see quiet.without_probes
        self.count_every_s = max(0.1, 0.7 * min(1.0, 0.3 * min(periods_s))) if periods_s else math.inf

    def take(self, waits: bool) -> None:
        """Look once, or only count while nobody waits and nobody is there.

        What fails falls back by one source, and is tried again with the next look.
        """
        # Of its own time, not the clock's: where a limit or neighbours slow it down it must not look less often
        spent_s, now_s = time.process_time(), time.monotonic()
        try:
            if waits or not self._nobody_came(now_s):
                self._look(now_s)
            self.trouble = ""
        except (OSError, ValueError, AttributeError, IndexError) as error:
            self._say(f"cannot look by {self.source.name if self.source else 'anything'}: {error}")
            if isinstance(self.source, Diag):
                self.source.close()
                self.source = Proc()
            else:
                self.source = None
        self.cost_s = time.process_time() - spent_s
        self.count += 1

    def _nobody_came(self, at_s: float) -> bool:
        """Whether there is nothing to look for: the kernel walks all of its table for each look."""
        if self.watch.began_s is None or self.watch.tracked or self._count() != self.opens:
            return False
        self.watch.note(at_s, self.opens, [], [], (self.ports, self.listening))
        return True

    def _look(self, at_s: float) -> None:
        source = self.source = self.source or _best()
        listeners = [one for one in source.listeners() if one[0] != self.own_port]
        self.listening = {port for port, _ in listeners}
        self.ports = self.given or {port for port, reachable in listeners if reachable}
        ended = source.closed()
        since_s, self.closed_at_s = at_s - self.closed_at_s, at_s
        # Who came first: the count is read last, so all that it counts and that lives is among the rows
        rows = source.rows()
        self.opens = self._count()
        fresh = [key for key, for_s in ended if for_s <= since_s]
        self.watch.note(at_s, self.opens, rows, fresh, (self.ports, self.listening))
        self.open_now = len(self.watch.tracked)

    def _count(self) -> int:
        """Arrivals but for its own: counted and accepted in one moment, in which none came."""
        count = passive_opens()
        if count - self.own == self.opens:
            return self.opens
        for _ in range(COUNTS_MAX):
            self.accept_own()
            count, before = passive_opens(), count
            if count == before:
                break
        return count - self.own

    def take_count(self) -> None:
        """Only count: without a name for who came, but at the right time, so that probes show their rhythm."""
        try:
            self.watch.count(time.monotonic(), self._count())
        except (OSError, ValueError) as error:
            self._say(f"cannot count: {error}")

    def sample(self, who: bool) -> dict[str, object]:
        """What is there now, in the form of the embedded cluster's node path."""
        source = self.source or _best()
        rows = source.rows() if who else []
        told: dict[str, object] = {"passiveOpens": self._count(), "source": source.name}
        if who:
            told["listening"] = sorted({port for port, _ in source.listeners()} - {self.own_port})
            own = self.own_port.to_bytes(2, "big")
            told["connections"] = [_told(row) for row in rows if row[0][:2] != own]
            told["ended"] = self.ended_by_sender(source, time.monotonic())
        return told

    def ended_by_sender(self, source: Diag | Proc, at_s: float) -> list[dict[str, object]]:
        """By port and peer: all that ended here since somebody asks, and those of the last minute."""
        since_s = at_s - self.tally_s if self.tally_s else LOOK_BACK_S + 1.0
        if since_s >= TALLY_EVERY_S:
            self.tally_s = at_s
            for row in self.tally.values():
                row[1] = 0
            for key, for_s in source.closed():
                port = int.from_bytes(key[:2], "big")
                if port == self.own_port or is_loopback(key[4:]):
                    continue
                row = self.tally.setdefault((port, address_of(key)), [0, 0])
                row[0] += for_s <= since_s
                row[1] += 1
        rows = self.tally.items()
        return [{"port": port, "remote": who, "all": row[0], "lately": row[1]} for (port, who), row in rows]

    def judge(self, asked: Asked) -> Verdict:
        """The evidence now."""
        return self.watch.judge(time.monotonic(), asked)

    def is_blind(self, now_s: float) -> bool:
        """Whether nothing has been seen for too long."""
        return self.watch.began_s is None or now_s - self.watch.looked_s > UNSEEN_S + 20 * self.cost_s

    def _say(self, text: str) -> None:
        if text != self.trouble:
            say(text)
        self.trouble = text


def _best() -> Diag | Proc:
    """sock_diag where the kernel and the runtime let us; OSError where there is nothing."""
    try:
        made = Diag()
    except OSError:
        return Proc()
    try:
        made.rows()
    except OSError:
        made.close()
        return Proc()
    return made


def _told(row: Row) -> dict[str, object]:
    key, state, received, sent, in_ms, out_ms = row
    told: dict[str, object] = {
        "localPort": int.from_bytes(key[:2], "big"),
        "remote": address_of(key),
        "remotePort": int.from_bytes(key[2:4], "big"),
        "state": STATES[state],
    }
    if received >= 0:
        told |= {"bytesReceived": received, "bytesSent": sent, "idleReceivedMs": in_ms, "idleSentMs": out_ms}
    return told


def ended(looks: Looks, asked: Asked, now_s: float) -> tuple[str, str]:
    """How a wait ends now and why: quiet | timer | capped, or "" where it goes on."""
    waited_s = now_s - asked.since_s
    if looks.is_blind(now_s):
        why = f"nothing can be seen ({looks.trouble or 'no look yet'})"
        lived = len(looks.judge(asked).peers)
        if waited_s >= asked.cap_s:
            return "capped", f"{why}; the cap of {asked.cap_s:g} s is over"
        return ("timer", f"{why}; waited {waited_s:.1f} s") if waited_s >= asked.timer_s and not lived else ("", why)
    verdict = looks.judge(asked)
    because = verdict.because()
    if verdict.word == "quiet":
        return "quiet", because
    if waited_s >= asked.cap_s:
        return "capped", f"{because}; the cap of {asked.cap_s:g} s is over"
    silent = min(verdict.silent_s, waited_s) >= verdict.needed_s
    if verdict.word == "not enough evidence" and silent:
        return "timer", f"{because}; waited {waited_s:.1f} s"
    return "", because


class Client:
    """One connection to the agent."""

    __slots__ = ("asked", "came_s", "data", "left", "way")

    def __init__(self, way: socket.socket, now_s: float) -> None:
        self.way, self.came_s, self.data, self.left = way, now_s, b"", b""
        self.asked: Asked | None = None


class Door:
    """Answers whoever asks, and looks when it is time."""

    def __init__(self, looks: Looks, host: str) -> None:
        self.looks = looks
        looks.accept_own = self._accept_all
        self.poll = select.epoll()
        self.clients: dict[int, Client] = {}
        self.next_s = self.counted_s = 0.0
        self.ends = False
        self.listeners: dict[int, socket.socket] = {}
        for family, address in ((socket.AF_INET, (host, looks.own_port)), (socket.AF_UNIX, UNIX + host)):
            listener = socket.socket(family, socket.SOCK_STREAM)
            if family == socket.AF_INET:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(BACKLOG)
            listener.setblocking(False)
            self.listeners[listener.fileno()] = listener
            self.poll.register(listener.fileno(), select.EPOLLIN)
        self.wake, wakes = os.pipe()
        os.set_blocking(wakes, False)
        signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, lambda *_: None)
        self.poll.register(self.wake, select.EPOLLIN)

    def run(self) -> None:
        """Until SIGTERM: which comes after the app has ended, for a sidecar ends last (T21)."""
        while not self.ends:
            wake_s = min(self.next_s, self.counted_s + self.looks.count_every_s)
            for fd, events in self.poll.poll(max(0.0, wake_s - time.monotonic()), 64):
                if fd == self.wake:
                    self.ends = True
                elif fd in self.listeners:
                    self._accept(self.listeners[fd])
                elif fd in self.clients:
                    self._on_events(self.clients[fd], events)
            if time.monotonic() >= wake_s:
                self.counted_s = time.monotonic()
                if self.counted_s >= self.next_s:
                    self._look()
                else:
                    self.looks.take_count()

    def _look(self) -> None:
        """Look, answer those who wait for quiet, drop who says nothing."""
        self.looks.take(any(client.asked for client in self.clients.values()))
        now_s = time.monotonic()
        for client in list(self.clients.values()):
            if client.asked is None and now_s - client.came_s > CLIENT_S:
                self._drop(client)
            elif client.asked is not None:
                self._try(client, client.asked, now_s)
        waits = any(client.asked for client in self.clients.values())
        if waits:
            self.next_s = now_s + max(WAIT_EVERY_S, self.looks.cost_s / WAIT_SHARE)
        else:
            self.next_s = now_s + min(IDLE_EVERY_MAX_S, max(IDLE_EVERY_S, self.looks.cost_s / IDLE_SHARE))

    def _try(self, client: Client, asked: Asked, now_s: float) -> None:
        reason, because = ended(self.looks, asked, now_s)
        if reason:
            waited_s = now_s - asked.since_s
            say(f"{reason} after {waited_s:.1f} s: {because}")
            self._answer(client, 200, json.dumps({"ended": reason, "because": because, "waitedSeconds": waited_s}))

    def _accept_all(self) -> None:
        for listener in self.listeners.values():
            self._accept(listener)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                way = listener.accept()[0]
            except OSError:  # nobody waits, or who waited has gone
                return
            if listener.family == socket.AF_INET:
                self.looks.own += 1
            way.setblocking(False)
            client = Client(way, time.monotonic())
            if len(self.clients) >= CLIENTS_MAX:
                self._answer(client, 503, "too many ask")
                continue
            self.clients[way.fileno()] = client
            self.poll.register(way.fileno(), select.EPOLLIN | select.EPOLLRDHUP)

    def _on_events(self, client: Client, events: int) -> None:
        if client.left and events & select.EPOLLOUT:
            self._send(client)
            return
        try:
            data = client.way.recv(HEAD_BYTES_MAX)
        except OSError:
            data = b""
        client.data += data
        if not data or len(client.data) > HEAD_BYTES_MAX:
            self._drop(client)
        elif b"\r\n\r\n" in client.data and client.asked is None:
            self._request(client)

    def _request(self, client: Client) -> None:
        words = client.data.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
        path, _, text = (words[1] if len(words) == 3 else "").partition("?")
        query = dict(pair.split("=", 1) for pair in text.split("&") if "=" in pair)
        if words[0] not in {"GET", "HEAD"}:
            self._answer(client, 405, "GET only")
        elif path == "/quiet":
            self._wait(client, query)
        elif path == "/sample":
            try:
                self._answer(client, 200, json.dumps(self.looks.sample(query.get("who") != "0")))
            except OSError as error:
                self._answer(client, 503, f"cannot look: {error}")
        elif path == "/state":
            self._answer(client, 200, json.dumps(state(self.looks)))
        elif path == "/metrics":
            self._answer(client, 200, metrics(self.looks), "text/plain; version=0.0.4")
        elif path == "/healthz":
            self._answer(client, 200, "ok")
        else:
            self._answer(client, 404, "there are /quiet, /sample, /state, /metrics, /healthz")

    def _wait(self, client: Client, query: dict[str, str]) -> None:
        try:
            client.asked = Asked(time.monotonic(), query)
        except ValueError:
            self._answer(client, 400, "cap_s, timer_s, longest_s are seconds above 0")
            return
        say(f"asked to wait until quiet, {client.asked.cap_s:g} s at most")
        self.next_s = 0.0

    def _answer(self, client: Client, code: int, text: str, kind: str = "") -> None:
        kind = kind or ("application/json" if text.startswith("{") else "text/plain")
        body = text.encode() + b"\n"
        head = f"HTTP/1.1 {code} {code}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
        client.left = head.encode() + b"Connection: close\r\n\r\n" + body
        client.asked = None
        self._send(client)

    def _send(self, client: Client) -> None:
        try:
            client.left = client.left[client.way.send(client.left) :]
        except BlockingIOError:
            pass
        except OSError:
            client.left = b""
        if not client.left:
            self._drop(client)
        elif client.way.fileno() in self.clients:
            self.poll.modify(client.way.fileno(), select.EPOLLOUT)

    def _drop(self, client: Client) -> None:
        self.clients.pop(client.way.fileno(), None)
        client.way.close()


def state(looks: Looks) -> dict[str, object]:
    """The evidence as if somebody had just asked for quiet."""
    now_s = time.monotonic()
    verdict = looks.judge(Asked(now_s - LOOK_BACK_S, {}))
    return {
        "source": looks.source.name if looks.source else "",
        "trouble": looks.trouble,
        "ports": sorted(looks.ports),
        "arrivals": looks.opens,
        "rate": round(verdict.rate, 3),
        "silentSeconds": round(verdict.silent_s, 2),
        "open": looks.open_now,
        "live": verdict.live,
        "peers": verdict.peers[:20],
        "lookSeconds": round(looks.cost_s, 5),
    }


def metrics(looks: Looks) -> str:
    """Prometheus text."""
    told = state(looks)
    rows = (
        ("active_connections", "gauge", "Connections to served ports that carry something or owe an answer.", "live"),
        ("open_connections", "gauge", "Connections to served ports, idle ones too.", "open"),
        (
            "connection_arrivals_total",
            "counter",
            "Connections accepted, probes included, the agent's own not.",
            "arrivals",
        ),
        ("segue_agent_look_seconds", "gauge", "What the last look took.", "lookSeconds"),
    )
    return "".join(
        f"# HELP {name} {text}\n# TYPE {name} {kind}\n{name} {told[key]}\n" for name, kind, text, key in rows
    )


def say(text: str) -> None:
    """One line of the log."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> int:
    """Serve until SIGTERM; the exit code."""
    settings = dict(os.environ)
    try:
        looks = Looks(settings)
        door = Door(looks, settings.get("POD_IP") or "")
    except (OSError, ValueError) as error:
        say(f"cannot serve: {error}")
        return 1
    say(f"segue agent serves on port {looks.own_port}")
    door.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
