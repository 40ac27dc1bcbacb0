"""Runs `segue.app.lookups` in a container by exec, and brings home what it tells.

Rule: where the container has no Python, its shell and the kernel's own counter tell at least how many datagrams left.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path

import segue.app
from segue.host.client import KubeClient
from segue.model.errors import SegueError
from segue.model.objects import Obj

ANSWER_LIMIT_S = 60.0  # beyond what was ordered
_PROGRAM = Path(segue.app.__file__).parent / "lookups.py"
_PYTHON = ["python3", "-I", "-S", "-c", "exec(eval(input()))"]
_FAMILIES = {"any": "ahosts", "ipv4": "ahostsv4", "ipv6": "ahostsv6"}
_SHELL = (
    "command -v getent >/dev/null || exit 1; command -v grep >/dev/null || exit 1; "
    'read name; read how; cat /etc/resolv.conf; echo "##"; cat /etc/hosts; echo "##"; grep ^Udp: /proc/net/snmp; '
    'getent "$how" "$name" >/dev/null; echo "## $?"; grep ^Udp: /proc/net/snmp; ls /lib/ld-musl* 2>/dev/null; '
    'echo "## end"'
)


async def probe(client: KubeClient, namespace: str, pod: str, container: str, order: Obj) -> Obj:
    """What came of an order; SegueError where the container can run nothing of use."""
    lines = [repr(_PROGRAM.read_text()), json.dumps(order)]
    limit_s = ANSWER_LIMIT_S + float(order.get("for_s") or 0)
    text, said = await _converse(client, (namespace, pod, container), (_PYTHON, lines), limit_s)
    if text.strip().startswith("{"):
        found: Obj = json.loads(text)
        return found
    if order["do"] != "capture":
        raise _useless(pod, container, said or text)
    asked = [str(order["name"]), _FAMILIES[str(order.get("family") or "any")]]
    text, said_too = await _converse(client, (namespace, pod, container), (["sh", "-c", _SHELL], asked), limit_s)
    if "## end" not in text:
        raise _useless(pod, container, said or said_too)
    return _counted(text)


def _useless(pod: str, container: str, said: str) -> SegueError:
    return SegueError(
        f"pod {pod}, container {container}: nothing can be looked up there ({said.strip()[:200] or 'no answer'})",
        remedy="it needs python3, or for explain --measure sh, cat, grep and getent; --container names another one",
    )


async def _converse(
    client: KubeClient, at: tuple[str, str, str], what: tuple[Sequence[str], Sequence[str]], limit_s: float
) -> tuple[str, str]:
    """Start a command, give it its lines; (what it printed, what the cluster told of its end)."""
    pieces: list[bytes] = []
    async with asyncio.timeout(limit_s), client.exec_session(*at, what[0]) as pipe:
        for line in what[1]:
            await pipe.send(line.encode() + b"\n")
        async with aclosing(pipe.output()) as output:
            async for piece in output:
                pieces.append(piece)
                if piece.endswith((b"}\n", b"## end\n")):
                    break
        return b"".join(pieces).decode(errors="replace"), pipe.said


def _counted(text: str) -> Obj:
    conf, hosts, before, after, _ = re.split(r"^##.*\n?", text, flags=re.MULTILINE)[:5]
    ended = re.search(r"^## (\d+)$", text, re.MULTILINE)
    assert ended is not None
    return {
        "libc": "musl" if "ld-musl" in after else "glibc",
        "resolv_conf": conf,
        "hosts": hosts,
        "how": "count",
        "lookups": [{"code": 0 if ended[1] == "0" else -2}],
        "packets": [],
        "sent": _datagrams(after) - _datagrams(before),
    }


def _datagrams(text: str) -> int:
    rows = [line.split() for line in text.splitlines() if line.startswith("Udp:")]
    return int(rows[1][rows[0].index("OutDatagrams")])
