"""The API's wire itself: many watchers and a stuck one, old channel protocol, refusals before an upgrade."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from segue.model.objects import Obj
from tests.live.api_house import ApiHouse
from tests.waiting import wait_until

pytestmark = pytest.mark.live
MAPS = "/api/v1/namespaces/default/configmaps"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiHouse]:
    house = ApiHouse(tmp_path_factory.mktemp("api"))
    house.start()
    house.kubectl("run", "p", "--image=i:1")
    yield house
    house.stop()


def trust(house: ApiHouse) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(house.state / "pki" / "ca.crt"))


def token(house: ApiHouse) -> str:
    return (house.state / "pki" / "admin.token").read_text()


def version_of_maps(house: ApiHouse) -> str:
    listed: Obj = json.loads(house.kubectl("get", "--raw", f"{MAPS}?limit=1"))
    return str(listed["metadata"]["resourceVersion"])


class Line:
    """One HTTPS connection, spoken by hand."""

    def __init__(self, house: ApiHouse) -> None:
        host, _, port = house.url.removeprefix("https://").partition(":")
        self._head = f"Host: {host}\r\nAuthorization: Bearer {token(house)}\r\n"
        plain = socket.create_connection((host, int(port)), timeout=10)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = trust(house).wrap_socket(plain, server_hostname=host)
        self.file = self._socket.makefile("rb")

    def ask(self, method: str, path: str, body: Obj | None = None) -> None:
        data = json.dumps(body).encode() if body is not None else b""
        head = f"{method} {path} HTTP/1.1\r\n{self._head}Content-Type: application/json\r\n"
        self._socket.sendall(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)

    def answer(self) -> tuple[int, bytes]:
        code = int(self.file.readline().split()[1])
        length = 0
        while (line := self.file.readline().strip()) != b"":
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        return code, self.file.read(length)

    def frame(self) -> Obj:
        """The next event of a chunked watch stream that sends one event at a time."""
        size = int(self.file.readline(), 16)
        data = self.file.read(size)
        self.file.readline()
        parsed: Obj = json.loads(data.splitlines()[0])
        return parsed

    def close(self) -> None:
        self.file.close()
        self._socket.close()


def test_a_stuck_watcher_keeps_nobody_waiting(house: ApiHouse) -> None:
    stuck, writer, awake = Line(house), Line(house), Line(house)
    version = version_of_maps(house)
    for watcher in (stuck, awake):
        watcher.ask("GET", f"{MAPS}?watch=true&resourceVersion={version}")
    assert awake.answer()[0] == 200
    worst_s = 0.0
    big = {"data": {"k": "v" * 20_000}}
    for number in range(400):
        began_s = time.monotonic()
        writer.ask("POST", MAPS, {"metadata": {"name": f"stuck-{number}"}, **big})
        assert writer.answer()[0] == 201
        worst_s = max(worst_s, time.monotonic() - began_s)
        assert awake.frame()["object"]["metadata"]["name"] == f"stuck-{number}"
    for line in (stuck, writer, awake):
        line.close()

    assert worst_s < 1.0


def test_fifty_watchers_hear_of_a_change(house: ApiHouse) -> None:
    version = version_of_maps(house)
    watchers = [Line(house) for _ in range(50)]
    for watcher in watchers:
        watcher.ask("GET", f"{MAPS}?watch=true&resourceVersion={version}&allowWatchBookmarks=true")
        assert watcher.answer()[0] == 200
    house.kubectl("create", "configmap", "news")
    names = {watcher.frame()["object"]["metadata"]["name"] for watcher in watchers}
    for watcher in watchers:
        watcher.close()

    assert names == {"news"}


def test_a_watch_ends_when_its_time_is_over_with_a_bookmark(house: ApiHouse) -> None:
    version = version_of_maps(house)
    line = Line(house)
    line.ask("GET", f"{MAPS}?watch=true&resourceVersion={version}&allowWatchBookmarks=true&timeoutSeconds=1")
    assert line.answer()[0] == 200
    frame = line.frame()
    end = line.file.readline()
    line.close()

    assert (frame["type"], end) == ("BOOKMARK", b"0\r\n")


def test_a_body_that_is_not_json_is_a_bad_request(house: ApiHouse) -> None:
    line = Line(house)
    line.ask("POST", MAPS)
    empty = line.answer()
    line.close()

    assert empty[0] == 400 and b"must be a JSON object" in empty[1]


def test_the_server_closes_what_is_left_when_it_ends(house: ApiHouse) -> None:
    other = ApiHouse(house.state.parent / "other")
    other.start()
    line = Line(other)
    line.ask("GET", f"{MAPS}?watch=true")
    assert line.answer()[0] == 200
    seen: list[bytes] = []
    reader = threading.Thread(target=lambda: seen.append(line.file.readline()))
    reader.start()
    other.process.terminate()
    other.process.wait(10)
    wait_until(lambda: not reader.is_alive(), what="the end of the watch")
    line.close()
    other.stop()

    assert seen == [b""]


def exec_channel(house: ApiHouse, protocol: str, query: str, pod: str = "p") -> ClientConnection:
    url = house.url.replace("https", "wss") + f"/api/v1/namespaces/default/pods/{pod}/exec?{query}"
    return connect(
        url,
        ssl=trust(house),
        subprotocols=[Subprotocol(protocol)],
        additional_headers={"Authorization": f"Bearer {token(house)}"},
    )


@pytest.mark.parametrize("protocol", ["v4.channel.k8s.io", "v5.channel.k8s.io"])
def test_both_protocols_carry_output_and_the_end(house: ApiHouse, protocol: str) -> None:
    with exec_channel(house, protocol, "command=sh&command=-c&command=echo+hi;exit+4&stdout=true") as channel:
        chosen = channel.subprotocol
        messages = [message for message in channel if isinstance(message, bytes)]
    status = json.loads(messages[-1][1:])

    assert chosen == protocol and messages[0] == b"\x01hi\n" and messages[-1][:1] == b"\x03"
    assert status["details"]["causes"] == [{"reason": "ExitCode", "message": "4"}]


def test_v5_closes_standard_input_by_a_message(house: ApiHouse) -> None:
    with exec_channel(house, "v5.channel.k8s.io", "command=cat&stdin=true&stdout=true") as channel:
        channel.send(b"\x04" + b'{"Width":100,"Height":30}')
        channel.send(b"\x00abc")
        channel.send(b"\xff\x00")
        messages = [message for message in channel if isinstance(message, bytes)]

    assert messages[0] == b"\x01abc" and json.loads(messages[-1][1:])["status"] == "Success"


@pytest.mark.parametrize(
    ("pod", "protocol", "code"), [("nope", "v5.channel.k8s.io", 404), ("p", "v9.channel.k8s.io", 400)]
)
def test_what_cannot_be_upgraded_is_answered_as_a_status(house: ApiHouse, pod: str, protocol: str, code: int) -> None:
    with pytest.raises(InvalidStatus) as raised:
        exec_channel(house, protocol, "command=ls", pod)

    assert raised.value.response.status_code == code
    assert json.loads(raised.value.response.body or b"{}")["kind"] == "Status"
