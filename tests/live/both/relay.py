"""A small HTTP proxy that runs in the client's network and is reached from the host's: `relay.py FD [IP:PORT]`.

FD is a listening socket that was made on the host. A request for an absolute URL (a proxy's) goes where that says, any
other one to IP:PORT. Rule: each connection carries one request, so that nobody's request follows another one's way.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from contextlib import suppress
from urllib.parse import urlsplit


async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, usual: str) -> None:
    """One connection."""
    there: asyncio.StreamWriter | None = None
    with suppress(OSError, asyncio.IncompleteReadError, ValueError):
        head = await reader.readuntil(b"\r\n\r\n")
        first, _, rest = head.decode("latin-1").partition("\r\n")
        method, url, version = first.split(" ")
        parts = urlsplit(url)
        host, _, port = (parts.netloc or usual).rpartition(":")
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        kept = [line for line in rest.split("\r\n") if line and not line.lower().startswith(("connection:", "proxy-"))]
        back, there = await asyncio.open_connection(host, int(port))
        there.write("\r\n".join([f"{method} {path} {version}", *kept, "Connection: close", "", ""]).encode("latin-1"))
        while data := await back.read(65536):
            writer.write(data)
            await writer.drain()
    if there is not None:
        there.close()
    writer.close()


async def main() -> None:
    """Until we are ended."""
    usual = sys.argv[2] if len(sys.argv) > 2 else ""
    listener = socket.socket(fileno=int(sys.argv[1]))
    server = await asyncio.start_server(lambda reader, writer: relay(reader, writer, usual), sock=listener)
    await server.serve_forever()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main())
